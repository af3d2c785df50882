"""Sentences and pairs with their classes or scores, as a fairseq dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.criterion import NO_CLASS
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from fairseq_plugins.data.sized import SizedDataset

LENGTH_STEP = 8
"""Examples whose lengths differ by less than this share batches in random order."""


class SentenceDataset(SizedDataset):
    """Examples in batches of like lengths.

    Args:
        examples: sentences or pairs.
        encoded: the same in the student's ids.
        others: the same in the ids of teachers with another tokenizer, by position among the teachers.
        shuffle: whether every epoch has other batches.
    """

    def __init__(
        self,
        examples: Examples,
        encoded: EncodedExamples,
        others: Mapping[int, EncodedExamples],
        *,
        shuffle: bool,
    ) -> None:
        self.examples, self.encoded, self.others, self.shuffle = examples, encoded, others, shuffle
        self.sizes = encoded.sizes  # (N,)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def collater(self, rows: list[int]) -> dict[str, Any]:
        """Pad the examples ``rows``; ``{}`` for an empty batch."""
        if not rows:
            return {}
        batch = self.encoded.collate(rows)
        sample = {
            "id": torch.tensor(rows),
            "nsentences": len(rows),
            "ntokens": int(batch["attention_mask"].sum()),
            "net_input": batch,
            "target": self._target(rows),
        }
        if self.others:
            sample["teacher_input"] = {
                position: encoded.collate(rows) for position, encoded in self.others.items()
            }
        return sample

    def _target(self, rows: list[int]) -> torch.Tensor:
        """Return classes or scores, ``(B,)``; of texts without, a class that there is not."""
        if self.examples.target is None:
            return torch.full((len(rows),), NO_CLASS)
        return torch.from_numpy(self.examples.target[rows])

    def ordered_indices(self) -> NDArray[np.int64]:
        """Order by length, about equal ones at random, so that batches hold little padding and stay mixed."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.permutation(len(self))
        return order[np.argsort(self.sizes[order] // LENGTH_STEP, kind="stable")]

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Every epoch of training mixes anew."""
        return not self.shuffle
