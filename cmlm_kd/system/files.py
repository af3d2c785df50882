"""Files and directories that appear complete or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cmlm_kd.errors import UserError


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
        UserError: naming all three.
    """
    if not path.exists():
        return
    found = sorted(filter(in_the_way, path.iterdir())) if path.is_dir() else [path]
    if found:
        raise UserError(f"{owner}{path} {problem.format(entry=found[0].name)}; {remedy}")


def check_new_file(path: Path, remedy: str, *, owner: str = "") -> None:
    """Refuse to write a file where something is; arguments as of :func:`check_new_directory`.

    Raises:
        UserError: naming the path and the remedy.
    """
    if path.exists():
        raise UserError(f"{owner}{path} exists; {remedy}")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it at the end, or remove it after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def directory_written_aside(path: Path) -> Iterator[Path]:
    """Yield a new directory beside ``path`` that takes its place at the end, or is removed after an error.

    What an earlier run that was killed left aside is removed first.
    """
    path = path.resolve()  # where a symbolic link leads
    partial, former = (path.with_name(f".{path.name}.{state}") for state in ("partial", "former"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(former, ignore_errors=True)
            path.rename(former)
        partial.rename(path)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_sha256(path: Path) -> str | None:
    """Return the checksum of a file, hexadecimal; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
