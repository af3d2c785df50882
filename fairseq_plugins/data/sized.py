"""What fairseq asks of every data set whose rows have a length, and of those whose masks change by epoch."""

import numpy as np
from fairseq.data import FairseqDataset

from cmlm_kd.data.masking.positions import sentence_generator


class SizedDataset(FairseqDataset):
    """Rows in memory or memory-mapped, with the positions that each takes in ``sizes`` ``(rows,)``."""

    sizes: np.ndarray

    def __len__(self):
        return len(self.sizes)

    def num_tokens(self, index):
        """Return the positions of a row."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices):
        """Return the positions of several rows."""
        return self.sizes[indices]

    def size(self, index):
        """Return what ``--max-positions`` compares."""
        return int(self.sizes[index])

    @property
    def supports_prefetch(self):
        """There is nothing to fetch ahead."""
        return False


class MaskedDataset(SizedDataset):
    """Rows that are masked anew each epoch, or once and for all (validation).

    Args:
        seed: of the masks.
        fixed_masks: whether all epochs have the same.
    """

    def __init__(self, seed: int, fixed_masks: bool) -> None:
        self.seed, self.fixed_masks = seed, fixed_masks
        self.epoch = 1

    def generator(self, row: int) -> np.random.Generator:
        """Return the randomness of a row, which neither batches nor workers nor a resume change."""
        return sentence_generator(self.seed, 0 if self.fixed_masks else self.epoch, row)

    def set_epoch(self, epoch):
        """Draw other masks from now on."""
        self.epoch = epoch
