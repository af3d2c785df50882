"""Running text with hidden pieces, as a fairseq dataset."""

import numpy as np
import torch

from cmlm_kd.data.masking.batch import frame_batch
from cmlm_kd.data.masking.positions import batch_generator
from fairseq_plugins.data.sized import MaskedDataset


class MaskedTextDataset(MaskedDataset):
    """Rows whose pieces are hidden anew each epoch, or once and for all (validation).

    What is hidden in a row depends on seed, epoch and row only, or with frequency masking on the rows of its
    batch besides: neither workers nor a resume change it.

    Args:
        shard: :class:`cmlm_kd.data.text.corpus.Shard`.
        special: :class:`cmlm_kd.tokenization.pieces.SpecialIds`.
        hiding: :class:`cmlm_kd.data.masking.batch.TextHiding`.
        seed: of the masks.
        fixed_masks: whether all epochs have the same.
    """

    def __init__(self, shard, special, hiding, *, seed: int, fixed_masks: bool) -> None:
        super().__init__(seed, fixed_masks)
        self.shard, self.special, self.hiding = shard, special, hiding
        self.sizes = shard.sizes + 2  # (rows,), with [CLS] and [SEP]

    def __getitem__(self, index):
        return int(self.shard.rows[index]), self.shard[int(index)]

    def _randomness(self, rows):
        return batch_generator(self.seed, 0 if self.fixed_masks else self.epoch, rows)

    def collater(self, samples):
        """Hide pieces, frame and pad the rows of a batch; ``{}`` for an empty one."""
        if not samples:
            return {}
        rows, texts = zip(*samples, strict=True)
        hidden_texts = self.hiding.hide(rows, texts, self._randomness)
        batch = frame_batch(texts, hidden_texts, self.special)
        target = batch.pop("target")  # (M,)
        return {
            "id": torch.tensor(rows),
            "nsentences": len(samples),
            "ntokens": int(batch["attention_mask"].sum()),
            "net_input": batch,
            "target": target,
        }

    def ordered_indices(self):
        """Order by length, ties at random, so that batches hold little padding."""
        order = np.random.permutation(len(self))
        return order[np.argsort(self.sizes[order], kind="mergesort")]
