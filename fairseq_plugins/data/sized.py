"""Data sets whose rows have a length, as fairseq asks for them, and those whose masks change by epoch."""

from typing import Any

import numpy as np
from fairseq.data import FairseqDataset
from numpy.typing import NDArray

from cmlm_kd.data.masking.positions import sentence_generator


class SizedDataset(FairseqDataset):
    """Rows in memory or memory-mapped, with the positions that each takes in ``sizes`` ``(rows,)``."""

    sizes: NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.sizes)

    def num_tokens(self, index: int) -> int:
        """Return the positions of a row."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Return the positions of several rows."""
        return self.sizes[indices]

    def size(self, index: int) -> int:
        """Return what ``--max-positions`` compares."""
        return int(self.sizes[index])

    @property
    def supports_prefetch(self) -> bool:
        """There is nothing to fetch ahead."""
        return False


VALIDATION_SEED = 1
"""Of the masks of validation, whatever --seed is, so that runs can be compared."""


class MaskedDataset(SizedDataset):
    """Rows that are masked anew each epoch, or once and for all (validation).

    Args:
        seed: of the masks.
        fixed_masks: whether all epochs have the same.
    """

    def __init__(self, seed: int, fixed_masks: bool) -> None:
        self.seed, self.fixed_masks = seed, fixed_masks
        self.epoch = 1

    @property
    def mask_epoch(self) -> int:
        """The epoch that masks are drawn for; 0 where all epochs have the same."""
        return 0 if self.fixed_masks else self.epoch

    def generator(self, row: int) -> np.random.Generator:
        """Return the randomness of a row, which neither batches nor workers nor a resume change."""
        return sentence_generator(self.seed, self.mask_epoch, row)

    def set_epoch(self, epoch: int) -> None:
        """Draw other masks from now on."""
        self.epoch = epoch
