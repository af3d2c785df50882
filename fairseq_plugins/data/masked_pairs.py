"""Masked pairs for fine-tuning a teacher, as a fairseq dataset."""

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.data.masking.positions import random_mask
from cmlm_kd.data.translation.folds import Fold
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from fairseq_plugins.data.sized import MaskedDataset

logger = logging.getLogger(__name__)


class MaskedPairDataset(MaskedDataset):
    """Pairs whose target positions are masked anew each epoch, or once and for all (validation).

    A draw depends on seed, epoch and row only: neither batches nor workers nor a resume change it. Pairs
    longer than the teacher's positions are left out and counted.

    Args:
        parts: source and target of one or more splits, one after the other.
        pair_format: how the teacher frames a pair.
        max_positions: longest framed pair.
        seed: of the masks.
        mask_probability: in (0, 1].
        fixed_masks: whether all epochs have the same masks.
        left_out: a fold that is not learnt from.

    Raises:
        UserError: if all pairs are too long, or in the fold.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Databin, Databin]],
        pair_format: PairFormat,
        max_positions: int,
        *,
        seed: int,
        mask_probability: float,
        fixed_masks: bool,
        left_out: Fold | None = None,
    ) -> None:
        super().__init__(seed, fixed_masks)
        self.parts, self.pair_format, self.mask_probability = parts, pair_format, mask_probability
        self.starts = np.cumsum([0, *(len(target) for _, target in parts)])  # (parts + 1,)
        self.sizes = np.concatenate(
            [pair_format.lengths(source.sizes, target.sizes) for source, target in parts]
        )  # (rows,)
        self.kept = np.flatnonzero(self.sizes <= max_positions)
        too_long = (
            f"{len(self.sizes) - len(self.kept)} of {len(self.sizes)} pairs exceed {max_positions} positions"
        )
        if not len(self.kept):
            raise UserError(f"cmlm: {too_long}, so none is left; give shorter text or another teacher")
        if len(self.kept) < len(self.sizes):
            logger.warning("%s, the teacher's, and are left out of its training", too_long)
        if left_out is not None:
            targets = itertools.chain.from_iterable(target for _, target in parts)
            learnt = np.array([not left_out.holds(target) for target in targets])  # (rows,)
            self.kept = self.kept[learnt[self.kept]]
            if not len(self.kept):
                raise UserError(f"--fold {left_out} leaves none of {len(self.sizes)} pairs; give fewer folds")

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        row = int(index)
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        source, target = (side[row - self.starts[part]] for side in self.parts[part])
        return row, source, target, random_mask(len(target), self.generator(row), self.mask_probability)

    def collater(self, samples: list[tuple[Any, ...]]) -> dict[str, Any]:
        """Frame the pairs of a batch; ``{}`` for an empty one."""
        if not samples:
            return {}
        rows, sources, targets, masks = zip(*samples, strict=True)
        batch = frame_pairs(sources, targets, masks, self.pair_format)
        return {
            "id": torch.tensor(rows),
            "nsentences": len(rows),
            "ntokens": int(batch.attention_mask.sum()),
            "net_input": {
                "input_ids": batch.input_ids,
                "attention_mask": batch.attention_mask,
                "token_type_ids": batch.token_type_ids,
                "masked_index": batch.masked_index,
            },
            "target": batch.labels,
        }

    def ordered_indices(self) -> NDArray[np.int64]:
        """Order by length, so that batches hold little padding; in training ties are in random order."""
        order = self.kept if self.fixed_masks else np.random.permutation(self.kept)
        return order[np.argsort(self.sizes[order], kind="mergesort")]
