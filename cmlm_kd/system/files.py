"""Files and directories that appear complete or not at all.

Everything that the library and its commands write goes through :func:`written_aside` or
:func:`directory_written_aside`. Both write to one fixed place beside (or in) what they write, under a lock;
what a killed run left there the next one removes. Both end in a ``UserError`` where the operating system
refuses, and leave nothing behind. Of :func:`written_together`, that is true of several files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.aside import (
    check_place,
    hold_file,
    holding,
    interruption_waits,
    named_os_errors,
    parents_made,
    partial_of,
    settle_file,
    to_disk,
)
from cmlm_kd.system.directories import check_new_directory, directory_written_aside, finish_interrupted

__all__ = [
    "check_file_place",
    "check_new_directory",
    "check_new_file",
    "check_room",
    "directory_written_aside",
    "file_name",
    "file_sha256",
    "finish_interrupted",
    "interruption_waits",
    "written_aside",
    "written_together",
]

_DESCRIPTORS = ("/dev/fd/", "/dev/std", "/proc/")
"""Where paths are names of open files."""

_LONGEST_STEM = 200
"""Bytes of a name that leave room for endings such as ``.tsv``; file systems have 255."""

_TOGETHER = ContextVar[contextlib.ExitStack | None]("_TOGETHER", default=None)
"""Where the files wait that appear together."""


def check_new_file(path: Path, remedy: str, *, owner: str = "") -> None:
    """Refuse to write a file where something is, or that cannot be written.

    Args:
        path: of the file to write.
        remedy: what the message says to do.
        owner: what it begins with, such as ``--output ``.

    Raises:
        UserError: naming the path and the remedy.
    """
    check_file_place(path)
    if path.exists():
        raise UserError(f"{owner}{path} exists; {remedy}")


def check_file_place(path: Path | None) -> None:
    """Refuse, before there is anything to lose, a path that no file can be written to; None is none.

    Raises:
        UserError: naming what is in the way, and why.
    """
    if path is None:
        return
    with named_os_errors(path):
        found = _stat(path)
        _check_writable(path, found)
    if found is None:
        check_place(path)


def check_room(path: Path, size: int, remedy: str, *, owner: str = "") -> None:
    """Refuse to write more than a disk has room for.

    Args:
        path: of the file or directory to write.
        size: bytes.
        remedy: what the message says to do.
        owner: what it begins with.

    Raises:
        UserError: naming both sizes.
    """
    place = Path(os.path.realpath(path))
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if size > free:
        raise UserError(
            f"{owner}{path} would take {size / 1e9:,.2f} GB, and {place} has room for {free / 1e9:,.2f} GB; "
            f"{remedy}"
        )


def file_name(flag: str, name: str) -> str:
    """Return a name that becomes part of a file's name.

    Args:
        flag: what gave it, for the message.
        name: what was given.

    Raises:
        UserError: if it is empty, a path, too long, or has what is no visible character, such as a line feed.
    """
    if name and not name.isprintable():
        raise UserError(f"{flag} {name!r}: a file gets this name; leave out what is no visible character")
    if not name or name in (".", "..") or "/" in name:
        raise UserError(f"{flag} {name!r}: a file gets this name, and it must not be a path; leave out '/'")
    if len(os.fsencode(name)) > _LONGEST_STEM:
        raise UserError(
            f"{flag} {name[:20]!r}...: a file gets this name of {len(os.fsencode(name))} bytes; "
            f"give one of at most {_LONGEST_STEM}"
        )
    return name


@contextlib.contextmanager
def written_aside(path: Path, *, goes_on: bool = False) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it at the end, or remove it after an error.

    A link stays a link, and the file that it leads to is written; a file that is replaced hands on its
    permissions and owner. What cannot be replaced (a device, a pipe, ``/dev/stdout``, a file mounted on its
    own) is written when the body has ended.

    Args:
        path: of the file.
        goes_on: keep what was written after an error, and yield what an earlier run left: the body appends.

    Raises:
        UserError: another process is writing it, or the operating system refuses; what was there stays.
    """
    together = _TOGETHER.get()
    if together is not None:
        yield together.enter_context(_written_aside(path, goes_on))
        return
    with _written_aside(path, goes_on) as partial:
        yield partial


@contextlib.contextmanager
def written_together() -> Iterator[None]:
    """Let all files that :func:`written_aside` writes in the body appear at its end, or none of them.

    They are renamed one after the other; a Ctrl-C that comes meanwhile waits until all are.
    """
    with contextlib.ExitStack() as afterwards, contextlib.ExitStack() as files:
        former = _TOGETHER.set(files)
        try:
            yield
        finally:
            _TOGETHER.reset(former)
        afterwards.enter_context(interruption_waits())


@contextlib.contextmanager
def _written_aside(path: Path, goes_on: bool) -> Iterator[Path]:
    with named_os_errors(path):
        former = _stat(path)
        _check_writable(path, former)
        if _must_be_filled(path, former):
            with tempfile.TemporaryDirectory() as folder:
                partial = Path(folder) / path.name
                yield partial
                _fill(path, partial)
            return
        target = Path(os.path.realpath(path))  # where a link leads
        with parents_made(target):
            yield from _replaced(target, former, goes_on)


def file_sha256(path: Path) -> str | None:
    """Return the checksum of a file, hexadecimal; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _stat(path: Path) -> os.stat_result | None:
    """Return what is at a path or where it leads, None where nothing is."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _check_writable(path: Path, found: os.stat_result | None) -> None:
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _must_be_filled(path: Path, found: os.stat_result | None) -> bool:
    """Return whether what is there must be written itself, because no other file can take its place."""
    if found is None:
        return False
    named_by_descriptor = os.path.abspath(path).startswith(_DESCRIPTORS)
    return (
        named_by_descriptor
        or not stat.S_ISREG(found.st_mode)
        or not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK | os.X_OK)
    )


def _fill(path: Path, source: Path) -> None:
    """Write what is there, as the shell would: ``>`` a file and ``>>`` what others write to as well."""
    anew = stat.S_ISREG(os.stat(path).st_mode) and not os.path.abspath(path).startswith(_DESCRIPTORS)
    with source.open("rb") as file, path.open("wb" if anew else "ab", buffering=0) as output:
        shutil.copyfileobj(file, output)


def _replaced(target: Path, former: os.stat_result | None, goes_on: bool) -> Iterator[Path]:
    """Yield the file beside ``target`` that takes its place at the end."""
    partial = partial_of(target)

    def discard(descriptor: int) -> None:
        if not goes_on or not os.fstat(descriptor).st_size:
            partial.unlink(missing_ok=True)

    with holding(lambda: hold_file(partial, target, keep=goes_on), discard) as descriptor:
        mode = os.fstat(descriptor).st_mode if former is None else former.st_mode
        yield partial
        if former is not None:
            with contextlib.suppress(PermissionError):
                os.chown(partial, former.st_uid, former.st_gid)
        settle_file(partial, stat.S_IMODE(mode))
        _put(partial, target)


def _put(partial: Path, target: Path) -> None:
    try:
        os.replace(partial, target)
    except OSError as error:
        if error.errno != errno.EBUSY:  # a file that is mounted on its own, as into a container
            raise
        _fill(target, partial)
        partial.unlink()
    to_disk(target.parent)
