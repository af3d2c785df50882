"""A fairseq data set of sentence pairs whose batches carry soft targets."""

from fairseq.data import BaseWrapperDataset


class SoftTargetDataset(BaseWrapperDataset):
    """Adds ``sample["teacher"]`` to the batches of a :class:`~fairseq.data.LanguagePairDataset`.

    The rows are looked up by ``batch["id"]`` after the pairs have been sorted and padded, so they follow
    their sentences whatever fairseq does to the order.

    Args:
        pairs: the sentence pairs.
        soft_targets: :class:`cmlm_kd.store.ConcatenatedStores` whose sentence i belongs to pair i.
        k: entries a token in the batch, at most the stores'; None: all.
    """

    def __init__(self, pairs, soft_targets, k=None):
        super().__init__(pairs)
        self.soft_targets = soft_targets
        self.k = k

    def collater(self, samples, pad_to_length=None):
        """Collate the pairs, then put their soft targets beside ``batch["target"]``."""
        batch = self.dataset.collater(samples, pad_to_length=pad_to_length)
        if not batch:  # what fairseq makes of a shard that has run out of batches
            return batch
        target = batch["target"]  # (B, T)
        batch["teacher"] = self.soft_targets.collate(
            batch["id"].numpy(),
            target.ne(self.dataset.tgt_dict.pad()).sum(dim=1).numpy(),  # (B,)
            target.size(1),
            left_pad=self.dataset.left_pad_target,
            k=self.k,
        ).to_batch()
        return batch

    def num_tokens_vec(self, indices):
        """Return the sizes of the pairs ``indices``."""
        return self.dataset.num_tokens_vec(indices)
