"""A training set without one fold of its pairs."""

from typing import Any

import numpy as np
from fairseq.data import BaseWrapperDataset

from cmlm_kd.data.translation.folds import Fold
from cmlm_kd.errors import UserError


class FoldDataset(BaseWrapperDataset):  # type: ignore[misc]
    """Leaves a fold out of the order of a data set of sentence pairs.

    Rows keep their numbers, so that soft targets stay with their sentences.

    Args:
        dataset: the sentence pairs, with or without soft targets.
        targets: their target sentences, ``(L,)`` tensors, perhaps padded.
        padding_idx: the entry that stands for padding.
        fold: which of them are left out.

    Raises:
        UserError: if none is left.
    """

    def __init__(self, dataset: Any, targets: Any, padding_idx: int, fold: Fold) -> None:
        super().__init__(dataset)
        rows = range(len(dataset))
        sentences = (targets[row].numpy() for row in rows)
        self.kept = np.array([not fold.holds(row[row != padding_idx]) for row in sentences])  # (rows,)
        if not self.kept.any():
            raise UserError(f"--fold {fold} leaves none of {len(rows)} training pairs; give fewer folds")

    def ordered_indices(self) -> Any:
        """Return the order of the rows that are left."""
        order = self.dataset.ordered_indices()
        return order[self.kept[order]]

    def num_tokens_vec(self, indices: Any) -> Any:
        """Return the sizes of the pairs ``indices``."""
        return self.dataset.num_tokens_vec(indices)
