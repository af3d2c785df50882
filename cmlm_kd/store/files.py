"""Files of a store that are whole or not there, in a directory that one process writes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cmlm_kd.errors import NO_SPACE, UserError

logger = logging.getLogger(__name__)

TEMPORARY_SUFFIX = ".tmp"
"""Of files that are being written; an interruption may leave them."""


def lock_directory(path: Path) -> int:
    """Return a descriptor that holds the directory's lock until it is closed.

    Raises:
        UserError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"store: another process is writing {path}; wait for it or give another directory"
        ) from error
    except OSError:
        logger.warning("store: %s is on a file system without locks; start no second dump into it", path)
    return descriptor


def write_whole(path: Path, data: bytes | pa.Buffer) -> None:
    """Make a file appear complete or not at all, also across a power cut."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def explained_os_errors(path: Path, needed: str) -> Iterator[None]:
    """Turn what the file system refuses into a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise UserError(
                f"store: no space left for {path}: {needed} more needed ({error.strerror}). The complete "
                "shards are intact: free space and run the same command again, it goes on from there"
            ) from error
        raise UserError(
            f"store: can't write {path}: {error.strerror}; check the path and its permissions"
        ) from error
