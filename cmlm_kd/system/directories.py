"""Directories that appear complete or not at all, and their contents in a directory that is there already.

A directory that is not there is written beside its place and renamed. One that is there cannot be replaced:
it may be a mount point, hold files of others, or be somebody's working directory. It is filled instead:

1. everything is written to ``.partial/new`` in it;
2. ``.partial/commit.json`` lists what is to be removed and moved: from here on the new contents count;
3. files are removed and moved, the manifest first and last; ``.partial`` goes.

A kill before step 2 leaves the directory as it was; after it, whoever comes next finishes step 3.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from cmlm_kd.errors import UserError
from cmlm_kd.system.aside import (
    check_place,
    hold_directory,
    holding,
    interruption_waits,
    lock,
    named_os_errors,
    parents_made,
    partial_of,
    release,
    settle,
    to_disk,
)

_WORK = ".partial"
_NEW = "new"
_COMMIT = "commit.json"
_NOT_OURS = frozenset({_WORK, "lost+found"})
"""Names in a directory that count as empty: of this module, and of the root of a file system."""


def check_new_directory(
    path: Path,
    problem: str = "is not empty",
    remedy: str = "give a new directory",
    *,
    owner: str = "",
    in_the_way: Callable[[Path], bool] = lambda entry: True,
) -> None:
    """Refuse to write where something is: into a file, or a directory that holds anything.

    Args:
        path: of the directory to write.
        problem: what the message says of it; ``{entry}`` becomes the name of what is in the way.
        remedy: what it says to do.
        owner: what the message begins with, such as ``store: ``.
        in_the_way: whether an entry of the directory must not be there; without it, none may.

    Raises:
        UserError: naming all three, or why nothing can be written there.
    """
    check_place(path)
    with named_os_errors(path):
        if not path.exists():
            return
        finish_interrupted(path)
        entries = [path] if not path.is_dir() else [e for e in path.iterdir() if e.name not in _NOT_OURS]
        found = sorted(filter(in_the_way, entries)) if path.is_dir() else entries
    if found:
        raise UserError(f"{owner}{path} {problem.format(entry=found[0].name)}; {remedy}")


@contextlib.contextmanager
def directory_written_aside(
    path: Path, *, manifest: str = "config.json", replaces: Collection[str] = ()
) -> Iterator[Path]:
    """Yield an empty directory whose contents are those of ``path`` at the end, or nowhere after an error.

    What an earlier run that was killed left is removed first. Files in ``path`` that are not named stay.

    Args:
        path: of the directory, or a link to it.
        manifest: the file without which nobody takes the directory for a whole one.
        replaces: files, relative to ``path``, that earlier contents consist of; they make room.

    Raises:
        UserError: another process is writing it, another file is in the way, or the operating system refuses.
    """
    place = Path(os.path.realpath(path))
    with named_os_errors(path):
        if not place.is_dir():
            with parents_made(place):
                yield from _beside(place)
        else:
            yield from _inside(place, manifest, tuple(replaces))


def finish_interrupted(path: Path) -> None:
    """Finish what a process that was killed had begun to move into a directory; nothing if there is nothing.

    Earlier releases moved a directory away before another took its place: a kill between the two left it as
    ``.NAME.former``, which gets its name back.

    Raises:
        UserError: the operating system refuses.
    """
    place = Path(os.path.realpath(path))
    former = place.with_name(f".{place.name}.former")
    if os.path.isdir(former) and not os.path.lexists(place):
        with named_os_errors(path):
            former.rename(place)
    if os.path.isfile(place / _WORK / _COMMIT) and not _is_link(place):
        with named_os_errors(path):
            descriptor = _lock(place)
            try:
                _finish(place)
            finally:
                release(descriptor)


def _beside(path: Path) -> Iterator[Path]:
    partial = partial_of(path)

    def discard(descriptor: int) -> None:
        shutil.rmtree(partial, ignore_errors=True)

    with holding(lambda: hold_directory(partial, path), discard):
        yield partial
        settle(partial)
        partial.rename(path)
    to_disk(path.parent)


def _inside(path: Path, manifest: str, replaces: tuple[str, ...]) -> Iterator[Path]:
    descriptor = _lock(path)
    try:
        _finish(path)
        (path / _WORK / _NEW).mkdir(parents=True)
        yield path / _WORK / _NEW
        settle(path / _WORK / _NEW)
        with interruption_waits():
            _begin_commit(path, manifest, replaces)
            _finish(path)
    except BaseException:
        if not os.path.lexists(path / _WORK / _COMMIT):  # otherwise the next run finishes it
            shutil.rmtree(path / _WORK, ignore_errors=True)
        raise
    finally:
        release(descriptor)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    lock(descriptor, path)
    return descriptor


class _Plan(NamedTuple):
    """What is to be done in a directory: files to remove, then files to move out of ``.partial/new``."""

    remove: list[str]
    move: list[str]

    @classmethod
    def read(cls, path: Path) -> _Plan:
        """Read a plan; one that was not written by this module could lead anywhere."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            plan = cls(*([str(name) for name in document[part]] for part in cls._fields))
            inside = plan.way_out(path.parent.parent) is None
        except (ValueError, KeyError, TypeError):
            inside = False
        if not inside:
            raise UserError(f"{path} is damaged; remove the folder {path.parent}")
        return plan

    def way_out(self, path: Path) -> str | None:
        """Return a name that leads out of the directory, by itself or by a link; None if there is none."""
        places = [(path, name) for name in self.remove + self.move]
        places += [(path / _WORK / _NEW, name) for name in self.move]
        return next((name for folder, name in places if _leads_out(folder, name)), None)


def _leads_out(folder: Path, name: str) -> bool:
    """Return whether a file's name, relative to a folder, is of another place, or a link on its way there."""
    relative = Path(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts:
        return True
    return any((folder / parent).is_symlink() for parent in relative.parents if parent.parts)


def _begin_commit(path: Path, manifest: str, replaces: tuple[str, ...]) -> None:
    """Write down what is to be done; when this returns it will be done."""
    new = path / _WORK / _NEW
    moved = [str(Path(folder, name).relative_to(new)) for folder, _, names in os.walk(new) for name in names]
    for name in moved:
        _check_room(path, name, replaces)
    plan = _Plan(
        sorted(replaces, key=lambda name: (name != manifest, name)),
        sorted(moved, key=lambda name: (name == manifest, name)),
    )
    wrong = plan.way_out(path)
    if wrong is not None:
        raise UserError(f"{path}: {wrong!r} leads out of this directory; give another one")
    written = path / _WORK / f"{_COMMIT}.new"
    written.write_text(json.dumps(plan._asdict()), encoding="utf-8")
    to_disk(written)
    written.rename(path / _WORK / _COMMIT)
    to_disk(path / _WORK)


def _check_room(path: Path, name: str, replaces: tuple[str, ...]) -> None:
    """Refuse to write a file where another one is, or below one."""
    place = path / name
    if os.path.lexists(place) and name not in replaces:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
    for parent in place.relative_to(path).parents:
        if (path / parent).is_symlink() or (os.path.lexists(path / parent) and not (path / parent).is_dir()):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path / parent))


def _finish(path: Path) -> None:
    """Do what is written down and not done yet, and remove what was written aside."""
    work = path / _WORK
    if (work / _COMMIT).is_file() and not _is_link(path):
        plan = _Plan.read(work / _COMMIT)
        _remove(path, plan.remove, keep=_moved_already(work / _NEW, plan.move))
        for name in plan.move:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # moved before a kill
                os.replace(work / _NEW / name, path / name)
        to_disk(path)
    if work.is_symlink():
        work.unlink()
    elif work.is_dir():
        shutil.rmtree(work)


def _is_link(path: Path) -> bool:
    """Return whether what is written aside in a directory is elsewhere, which is not of this module."""
    return (path / _WORK).is_symlink() or (path / _WORK / _NEW).is_symlink()


def _moved_already(new: Path, names: list[str]) -> set[str]:
    return {name for name in names if not os.path.lexists(new / name)}


def _remove(path: Path, names: list[str], keep: set[str]) -> None:
    """Remove files, and the directories that are empty then."""
    for name in names:
        if name not in keep:
            (path / name).unlink(missing_ok=True)
    for parent in sorted({Path(name).parent for name in names} - {Path()}, reverse=True):
        with contextlib.suppress(OSError):
            (path / parent).rmdir()
