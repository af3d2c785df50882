"""Mapped files whose pages are given back when they have been looked at."""

from __future__ import annotations

import ctypes
import mmap
import os

import pyarrow as pa

_libc = ctypes.CDLL(None, use_errno=True)


def let_go(mapped: pa.Buffer) -> None:
    """Give back the pages of a mapped file, which come again when they are read.

    One look at a file maps megabytes of it, and they count as memory of the process: of thousands of files
    that are open at once they would be all that is on disk.

    Args:
        mapped: a whole file, as ``pyarrow.memory_map(PATH).read_buffer()`` returns it; nothing else, since
            what belongs to no file would be lost.

    Raises:
        OSError: the system refuses.
    """
    address, size = ctypes.c_void_p(mapped.address), ctypes.c_size_t(mapped.size)
    if _libc.madvise(address, size, mmap.MADV_DONTNEED):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
