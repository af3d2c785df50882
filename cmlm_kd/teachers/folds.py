"""Teachers of which each was kept from a part of the corpus: every row gets the one that has not seen it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.api.next_tokens import Pairs
from cmlm_kd.data.translation.folds import Fold, fold_of
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.models.cmlm_loading import fold_of_teacher
from cmlm_kd.teachers.shards import DumpOptions, ShardDumper, ShardLayout, Summary


class FoldsDumper(ShardDumper):
    """Runs, on each row, the teacher that was kept from its fold.

    Args:
        dumpers: of the teacher without fold 0, of that without fold 1, ...
        options: how to dump.
    """

    def __init__(self, dumpers: Sequence[ShardDumper], options: DumpOptions) -> None:
        super().__init__(options)
        self.dumpers = tuple(dumpers)

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs all of the teachers can read."""
        readable = [dumper.readable(pairs) for dumper in self.dumpers]
        return np.all(readable, axis=0)  # type: ignore[no-any-return]

    def summaries(
        self, source: Databin, target: Databin, layout: ShardLayout, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Summary]]:
        """Yield what each row's teacher says; see :meth:`ShardDumper.summaries`."""
        count = len(self.dumpers)
        folds = np.array([fold_of(target[layout.first_row + row], count) for row in rows])  # (rows,)
        for index, dumper in enumerate(self.dumpers):
            yield from dumper.summaries(source, target, layout, rows[folds == index])


def in_order_of_folds(teachers: Sequence[str]) -> list[str]:
    """Return teachers by the fold that each was kept from.

    Args:
        teachers: ``[KIND=]PATH`` of each one's checkpoint, or exported C-MLM, which says so.

    Raises:
        UserError: one does not say so, or some row would get a teacher that has seen it, or none.
    """
    folds = {text: _fold_of_teacher(text) for text in teachers}
    first = teachers[0]
    by_index: dict[int, str] = {}
    for text in teachers:
        fold = folds[text]
        if fold.count != folds[first].count:
            raise UserError(
                f"--folds: {first} was trained without fold {folds[first]}, {text} without fold {fold}: "
                "these overlap, so rows would get a teacher that has seen them; take those of one division"
            )
        if fold.index in by_index:
            raise UserError(
                f"--folds: {by_index[fold.index]} and {text} were both trained without fold {fold}; give one "
                "teacher for each fold"
            )
        by_index[fold.index] = text
    missing = [str(Fold(i, folds[first].count)) for i in range(folds[first].count) if i not in by_index]
    if missing:
        raise UserError(
            f"--folds: no teacher was trained without fold {', '.join(missing)}, so its rows would get one "
            f"that has seen them; train it with --fold {missing[0]}"
        )
    return [by_index[index] for index in sorted(by_index)]


def _fold_of_teacher(text: str) -> Fold:
    path = Path(text if Path(text).exists() else text.partition("=")[2] or text)
    recorded = fold_of_teacher(path)
    if not recorded:
        raise UserError(
            f"--folds: {text} has seen every row, or does not say which it has not, so rows would get the "
            "teacher that learnt them; give checkpoints of trainings with --fold I/N, or what was exported "
            "from them"
        )
    return Fold.parse(recorded, f"{path}: the fold")
