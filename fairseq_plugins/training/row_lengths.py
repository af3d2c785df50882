"""No row is left out: those longer than a batch or the positions are refused, and batches have all others.

fairseq leaves training rows of more tokens than ``--max-tokens`` out behind a warning, and ends at one in a
validation set, or of input to translate, with an assertion that names no file.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from fairseq.data import FairseqDataset
from fairseq.tasks import FairseqTask
from fairseq.tasks.translation import TranslationTask
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from fairseq_plugins.training.batches import keep_every_row
from fairseq_plugins.training.task_origin import is_of_plugin

_SHOWN = 60
"""Characters of a sentence in a message."""

_LINES = "_lines_of_input"
"""Attribute of a task: how many lines of input it has had, of which fairseq counts those of a buffer."""


def leave_no_row_out() -> None:
    """Let every task that makes batches look at the lengths of its rows first, and leave none out."""
    make = FairseqTask.get_batch_iterator

    @functools.wraps(make)
    def make_checked(
        self: FairseqTask,
        dataset: FairseqDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        max_positions: Any = None,
        ignore_invalid_inputs: bool = False,
        *passed: Any,
        **named: Any,
    ) -> Any:
        if is_of_plugin(self) or isinstance(self, TranslationTask):
            check_rows(self, dataset, max_tokens, max_positions, skips=ignore_invalid_inputs)
            if is_of_plugin(self) or not _is_training(self, dataset):
                keep_every_row(dataset)
            if _split_of(self, dataset) is None:
                vars(self)[_LINES] = vars(self).get(_LINES, 0) + len(dataset)
        return make(
            self, dataset, max_tokens, max_sentences, max_positions, ignore_invalid_inputs, *passed, **named
        )

    FairseqTask.get_batch_iterator = make_checked


def check_rows(
    task: FairseqTask, dataset: FairseqDataset, max_tokens: int | None, max_positions: Any, *, skips: bool
) -> None:
    """Refuse rows that fairseq would leave out, or end at.

    Args:
        task: whose they are.
        dataset: the rows.
        max_tokens: most tokens of a batch, None for no limit.
        max_positions: most of a row, as fairseq has them: a number, or one each for source and target.
        skips: whether longer rows are to be left out, as fairseq does in training, and with
            ``--skip-invalid-size-inputs-valid-test``.

    Raises:
        UserError: naming the data, how many rows, the longest and the flag. Rows longer than the positions
            are left to fairseq where it skips them, and of a split others remain: in training with
            ``translation_kd``. Of input they may be all that a buffer has. Other tasks of ours have none:
            they cut or part what is too long, or leave it out themselves.
    """
    split, training = _split_of(task, dataset), _is_training(task, dataset)
    if training and not is_of_plugin(task):
        return  # fairseq's own tasks do as fairseq does
    rows = np.arange(len(dataset))
    owner = f"{task.cfg._name}: {split or 'input'}"
    positions = task.max_positions() if training else max_positions
    long = _over_positions(dataset, rows, positions)
    if len(long) and (not skips or (split is not None and len(long) == len(rows))):
        raise UserError(
            f"{owner}: {len(long)} of {len(rows)} rows are longer than the {_shown(positions)} positions of "
            f"the model, the first {_place(task, dataset, int(long[0]), split)}; "
            + _remedy(task, split, training=training)
        )
    rows = np.setdiff1d(rows, long)
    tokens = _tokens(dataset, rows)  # (rows,)
    if max_tokens is None or not len(rows) or tokens.max() <= max_tokens:
        return
    flag = "--max-tokens" if training or split is None else "--max-tokens or --max-tokens-valid"
    raise UserError(
        f"{owner}: {(tokens > max_tokens).sum()} of {len(dataset)} rows have more tokens than a batch may, "
        f"{max_tokens}, the longest {tokens.max()}; pass {flag} {tokens.max()} or more"
    )


def _split_of(task: FairseqTask, dataset: FairseqDataset) -> str | None:
    """Return the name of a split; None for lines of input, which are no data set of the task."""
    return next((name for name, found in task.datasets.items() if found is dataset), None)


def _is_training(task: FairseqTask, dataset: FairseqDataset) -> bool:
    split = _split_of(task, dataset)
    return split is not None and split == getattr(task.cfg, "train_subset", "train")


def _over_positions(dataset: FairseqDataset, rows: NDArray[np.int64], positions: Any) -> list[int]:
    if positions is None:
        return []
    return list(dataset.filter_indices_by_size(rows, positions)[1])


def _tokens(dataset: FairseqDataset, rows: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """Return what fairseq counts of each row, the way that it does."""
    try:
        counted: NDArray[np.integer[Any]] = dataset.num_tokens_vec(rows)
    except NotImplementedError:  # of most of fairseq's wrappers, which count one row at a time
        counted = np.array([dataset.num_tokens(row) for row in rows])
    return counted


def _place(task: FairseqTask, dataset: FairseqDataset, row: int, split: str | None) -> str:
    """Return a row's number and size; of input the line's, counted from 1, and its beginning."""
    if split is not None:
        return f"row {row} ({_shown(dataset.size(row))})"
    text = task.source_dictionary.string(dataset[row]["source"])
    shortened = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    line = vars(task).get(_LINES, 0) + row + 1
    return f"line {line}, {shortened!r} ({_shown(dataset.size(row)[0])})"


def _shown(size: Any) -> str:
    return " and ".join(str(int(part)) for part in size) if isinstance(size, tuple | list) else str(size)


def _remedy(task: FairseqTask, split: str | None, *, training: bool) -> str:
    skipping = "leave them out with --skip-invalid-size-inputs-valid-test"
    larger = "pass larger --max-source-positions and --max-target-positions"
    if split is None:
        return f"shorten or part such lines, or {skipping}; the output then has no line for them"
    if not isinstance(task, TranslationTask):
        return "shorten or part them" + ("" if training else f", or {skipping}")
    return larger if training else f"{larger} to train with, or {skipping}"
