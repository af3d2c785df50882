"""An index of a data-bin is looked at when it is opened, whichever task opens it."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from types import SimpleNamespace

from fairseq.data.indexed_dataset import MMapIndexedDataset

from cmlm_kd.data.translation.manifest import PREPARE_MANIFEST
from cmlm_kd.fairseq_files.databin import Databin


def check_indexes() -> None:
    """Let fairseq refuse a damaged index of a data-bin that 'cmlm-kd prepare' wrote.

    fairseq follows the pointers of an index, whatever they are: one that has changed ends in an exception
    without the file's name, or reads another sentence in silence.
    """
    begin = MMapIndexedDataset._do_init

    @functools.wraps(begin)
    def begin_checked(self: MMapIndexedDataset, path: str) -> None:
        # Others may have kinds of numbers that ours has not.
        if (Path(path).parent / PREPARE_MANIFEST).is_file():
            # What the destructor closes, if this is as far as it gets.
            self._index, self._bin_buffer_mmap = None, SimpleNamespace(_mmap=io.BytesIO())
            Databin.open(path)
        begin(self, path)

    MMapIndexedDataset._do_init = begin_checked
