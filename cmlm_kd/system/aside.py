"""What files and directories that are written aside have in common: names, locks, permissions, errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from cmlm_kd.errors import UserError, os_error_message, os_error_of

logger = logging.getLogger(__name__)

_LONGEST_NAME = 240
"""Bytes of a name that leave room for what is put around it; file systems have 255."""


def parts_of(path: Path) -> Path:
    """Return the folder beside a path for what there is of it so far, of several workers or before a kill."""
    if path.name in ("", ".."):  # such as ".", which is called something else from above
        path = Path(os.path.abspath(path))
    return path.with_name(f"{path.name}.parts")


def partial_of(path: Path) -> Path:
    """Return where a path is written before it is complete: always the same place, so that the next run of a
    command finds what a killed one left.
    """
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.partial")


@contextlib.contextmanager
def named_os_errors(path: Path) -> Iterator[None]:
    """Raise what the operating system refuses, while ``path`` is written, as a ``UserError`` that names it.

    An error about another file, such as one that is read meanwhile, keeps that name.

    Raises:
        UserError: naming path, reason and remedy.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = os_error_of(error)
        if found is None:
            raise
        other = str(found.filename or "")
        aside = not other or ".partial" in other or isinstance(found.filename, int)
        message = os_error_message(found, str(path) if aside else "")
        if message is None:
            raise
        raise UserError(message) from error


def check_place(path: Path) -> None:
    """Refuse a path that nothing can be written to: below a file, in a place that is read-only, too long.

    Raises:
        UserError: naming the part of the path that is in the way, and why.
    """
    with named_os_errors(path):
        place = Path(os.path.realpath(path))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(place)  # a name that is too long
        above = next(parent for parent in place.parents if os.path.lexists(parent))
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
        within = place if place.is_dir() else above
        if (within is place or not os.path.lexists(place)) and not os.access(within, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(within))


def lock(descriptor: int, path: Path, owner: str = "") -> None:
    """Keep a file or directory, until :func:`release`, from other processes that want to write it.

    Args:
        descriptor: of the file or directory.
        path: what is being written.
        owner: what the message begins with, such as ``store: ``.

    Raises:
        UserError: another process holds it; the descriptor is closed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"{owner}another process is writing {path}; wait for it or choose another place"
        ) from error
    except OSError:
        logger.warning("%s%s is on a file system without locks; start no second run into it", owner, path)


def release(descriptor: int) -> None:
    """Give up a lock, also where a child process has a copy of the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextlib.contextmanager
def holding(hold: Callable[[], int], discard: Callable[[int], None]) -> Iterator[int]:
    """Make a partial file or directory, and keep it locked in the body.

    Args:
        hold: makes it; returns its descriptor. A Ctrl-C waits meanwhile: nobody would remove what was made.
        discard: removes it, after an error.
    """
    descriptor = None
    try:
        with interruption_waits():
            descriptor = hold()
        yield descriptor
    except BaseException:
        if descriptor is not None:
            discard(descriptor)
        raise
    finally:
        if descriptor is not None:
            release(descriptor)


@contextlib.contextmanager
def interruption_waits() -> Iterator[None]:
    """Keep a Ctrl-C that comes in the body until its end."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is None:  # or a handler that could not be put back
        yield
        return
    waiting: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    former = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def hold_file(partial: Path, path: Path, *, keep: bool) -> int:
    """Open the file that ``path`` is written to aside, locked; return the descriptor.

    Args:
        partial: :func:`partial_of` the path.
        path: what is being written.
        keep: whether what an earlier run left there stays; otherwise the file is new.
    """
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        lock(descriptor, path)
        if _is_at(descriptor, partial):
            if keep or not os.fstat(descriptor).st_size:
                return descriptor
            os.unlink(partial)  # left by a run that was killed
        os.close(descriptor)


def hold_directory(partial: Path, path: Path, *, keep: bool = False) -> int:
    """Make the directory that ``path`` is written to aside, locked; return a descriptor.

    Args:
        partial: the directory.
        path: what is being written.
        keep: whether what an earlier run left there stays; otherwise the directory is empty.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            partial.mkdir()
        descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        lock(descriptor, path)
        if _is_at(descriptor, partial):
            if keep or not os.listdir(partial):
                return descriptor
            shutil.rmtree(partial)  # left by a run that was killed
        os.close(descriptor)


def _is_at(descriptor: int, place: Path) -> bool:
    """Return whether what was opened still has its name: the process that held it may have renamed it."""
    try:
        there = os.lstat(place)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


@contextlib.contextmanager
def parents_made(path: Path) -> Iterator[None]:
    """Make the directories above a path; after an error remove those of them that were not there before."""
    missing = [parent for parent in path.parents if not os.path.lexists(parent)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):  # somebody else writes there
                parent.rmdir()
        raise


def settle(directory: Path) -> None:
    """Give all that is in a directory the permissions that the umask says, and put it on the disk.

    Libraries have their own mind: safetensors leaves files that their owner alone may read.
    """
    mode = stat.S_IMODE(directory.stat().st_mode)
    for folder, folders, names in os.walk(directory):
        for name in folders:
            os.chmod(os.path.join(folder, name), mode)
        for name in names:
            settle_file(Path(folder, name), mode & 0o666)


def settle_file(path: Path, mode: int) -> None:
    """Give a file its permissions and put it on the disk."""
    os.chmod(path, mode)
    to_disk(path)


def to_disk(path: Path) -> None:
    """Put a file, or the names in a directory, on the disk, so that a power cut does not take them back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that have no such thing
            raise
    finally:
        os.close(descriptor)
