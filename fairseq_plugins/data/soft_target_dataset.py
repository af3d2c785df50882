"""A fairseq data set of sentence pairs whose batches carry soft targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairseq.data import BaseWrapperDataset

from cmlm_kd.api.needs import NOTHING_ELSE, Request
from cmlm_kd.api.sources import SignalSource, TeacherBatch


class SoftTargetDataset(BaseWrapperDataset):  # type: ignore[misc]
    """Adds ``sample["teacher"]`` to the batches of a :class:`~fairseq.data.LanguagePairDataset`.

    The rows are looked up by ``batch["id"]`` after the pairs have been sorted and padded, so they follow
    their sentences whatever fairseq does to the order.

    Args:
        pairs: the sentence pairs.
        source: a source whose example i is pair i and that answers by row, see :class:`SignalSource`.
        request: what to carry in a batch.
    """

    def __init__(self, pairs: Any, source: SignalSource, request: Request = NOTHING_ELSE) -> None:
        super().__init__(pairs)
        self.source = source
        self.request = request

    def collater(self, samples: Sequence[Any], pad_to_length: Any = None) -> Any:
        """Collate the pairs, then put their soft targets beside ``batch["target"]``."""
        batch = self.dataset.collater(samples, pad_to_length=pad_to_length)
        if not batch:  # what fairseq makes of a shard that has run out of batches
            return batch
        padding = self.dataset.tgt_dict.pad()
        asked = TeacherBatch(batch["id"], batch["net_input"], batch["target"], padding)
        batch["teacher"] = self.source.signal(asked, self.request).to_batch()
        return batch

    def num_tokens_vec(self, indices: Any) -> Any:
        """Return the sizes of the pairs ``indices``."""
        return self.dataset.num_tokens_vec(indices)
