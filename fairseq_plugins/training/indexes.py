"""A data-bin is looked at when it is opened, and each sentence when it is read, whichever task does it."""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path
from types import SimpleNamespace

from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset
from torch import Tensor

from cmlm_kd.data.translation.manifest import is_databin
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, check_ids


def check_indexes() -> None:
    """Let fairseq refuse ids of no entry in a data-bin, and a damaged index where 'cmlm-kd prepare' wrote it.

    fairseq follows the pointers of an index, whatever they are: one that has changed ends in an exception
    without the file's name, or reads another sentence in silence. An id that has changed, and has no
    embedding, ends in an IndexError of torch.
    """
    begin, read = MMapIndexedDataset._do_init, MMapIndexedDataset.__getitem__

    @functools.wraps(begin)
    def begin_checked(self: MMapIndexedDataset, path: str) -> None:
        # Others may have kinds of numbers that ours has not.
        if is_databin(Path(path).parent):
            # What the destructor closes, if this is as far as it gets.
            self._index, self._bin_buffer_mmap = None, SimpleNamespace(_mmap=io.BytesIO())
            Databin.open(path)
        self._entries = _entries_of(Path(path))
        begin(self, path)

    @functools.wraps(read)
    def read_checked(self: MMapIndexedDataset, row: int) -> Tensor:
        try:
            ids = read(self, row)
        except ValueError as error:  # NumPy's, of a file that ends before the sentence
            raise UserError(
                f"{self._path}.bin ends before sentence {row} ({error}); prepare the data again"
            ) from error
        entries = getattr(self, "_entries", None)
        if entries is not None:
            check_ids(self._path, row, ids.numpy(), entries)
        return ids

    MMapIndexedDataset._do_init, MMapIndexedDataset.__getitem__ = begin_checked, read_checked


def _entries_of(prefix: Path) -> int | None:
    """Return how many entries the dictionary of a data-bin's file has; None where none lies there."""
    path = prefix.with_name(f"dict{prefix.suffix}.txt")
    with contextlib.suppress(UserError, OSError):  # of a damaged one, which is for the task to refuse
        return len(Dictionary.load(str(path))) if path.is_file() else None
    return None
