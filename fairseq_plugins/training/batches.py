"""Batches of all rows of a data set.

fairseq makes batches of a multiple of ``--required-batch-size-multiple`` rows (8 unless it is given), and
leaves the last one out where it has fewer: of rows that are sorted those are the longest, in each epoch, in
validation and in decoding.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from fairseq.data import FairseqDataset
from numpy.typing import NDArray


def keep_every_row(dataset: FairseqDataset) -> None:
    """Let a data set's batches have all of its rows from now on, whatever multiple they are made with."""
    vars(dataset)["batch_by_size"] = functools.partial(batches_of_all, dataset)


def batches_of_all(
    dataset: FairseqDataset,
    indices: NDArray[np.int64],
    max_tokens: int | None = None,
    max_sentences: int | None = None,
    required_batch_size_multiple: int = 1,
) -> list[Any]:
    """Make batches as a data set does, and of the rows that it leaves out smaller ones, which come last.

    Args:
        dataset: whose ``batch_by_size`` is used.
        indices: rows, in the order in which they go into batches.
        max_tokens: of a batch, None for no limit.
        max_sentences: of a batch, None for no limit.
        required_batch_size_multiple: of the rows of a batch, if it has that many.
    """
    make = functools.partial(
        type(dataset).batch_by_size, dataset, max_tokens=max_tokens, max_sentences=max_sentences
    )
    rows = np.asarray(indices, dtype=np.int64)
    if not len(rows):
        return []
    batches = list(make(rows, required_batch_size_multiple=required_batch_size_multiple))
    left_out = rows[~np.isin(rows, np.concatenate([*batches, []]).astype(np.int64))]
    return [*batches, *(make(left_out, required_batch_size_multiple=1) if len(left_out) else [])]
