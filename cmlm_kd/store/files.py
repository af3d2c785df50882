"""Files of a store that are whole or not there, in a directory that one process writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cmlm_kd.errors import UserError, os_error_of
from cmlm_kd.system.aside import lock
from cmlm_kd.system.files import written_aside

TEMPORARY_SUFFIXES = (".partial", ".tmp")
"""Of files that were being written when a process was killed, now and by earlier releases."""


def lock_directory(path: Path) -> int:
    """Return a descriptor that holds the directory's lock until it is released.

    Raises:
        UserError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    lock(descriptor, path, "store: ")
    return descriptor


def write_whole(path: Path, data: bytes | pa.Buffer) -> None:
    """Make a file appear complete or not at all, also across a power cut."""
    with written_aside(path) as partial, partial.open("wb") as file:
        file.write(data)


@contextlib.contextmanager
def explained_os_errors(path: Path, needed: str) -> Iterator[None]:
    """Turn what the file system refuses into a message that says what to do."""
    try:
        yield
    except UserError as error:
        full = os_error_of(error)
        if full is None:
            raise
        raise UserError(
            f"store: no space left for {path}: {needed} more needed ({full.strerror}). The complete "
            "shards are intact: free space and run the same command again, it goes on from there"
        ) from error
    except OSError as error:
        raise UserError(
            f"store: can't write {path}: {error.strerror}; check the path and its permissions"
        ) from error
