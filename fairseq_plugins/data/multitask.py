"""Several corpora as one data set, every batch of which belongs to one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.data.classification.ranking import Queries
from fairseq_plugins.data.sentences import SentenceDataset
from fairseq_plugins.data.sized import SizedDataset
from fairseq_plugins.training.batches import batches_of_all


class RankingDataset(SentenceDataset):
    """Queries with their candidates; a row is a query, and so is what ``--batch-size`` counts.

    Args:
        sentences: :class:`SentenceDataset` of all pairs.
        queries: :class:`cmlm_kd.data.classification.ranking.Queries` of the same.
    """

    def __init__(self, sentences: SentenceDataset, queries: Queries) -> None:
        super().__init__(sentences.examples, sentences.encoded, sentences.others, shuffle=sentences.shuffle)
        self.queries = queries
        lengths = [sentences.sizes[rows] for rows in queries.rows]
        self.sizes = np.array([found.max() for found in lengths], np.int32)  # (G,), the longest pair
        self._tokens = np.array([found.sum() for found in lengths], np.int64)  # (G,)

    def num_tokens(self, index: int) -> int:
        """Return the ids of all candidates of a query."""
        return int(self._tokens[index])

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Return the ids of several queries."""
        return self._tokens[indices]

    def collater(self, rows: list[int]) -> dict[str, Any]:
        """Pad all candidates of the queries ``rows``, query after query; ``{}`` for an empty batch."""
        if not rows:
            return {}
        pairs = [self.queries.rows[row] for row in rows]
        sample = super().collater(np.concatenate(pairs).tolist())
        sample["nsentences"] = len(rows)
        sample["target"] = torch.from_numpy(self.queries.relevant[rows])  # (G,)
        sample["net_input"]["candidates"] = torch.tensor([len(found) for found in pairs])  # (G,)
        return sample


class MultitaskDataset(SizedDataset):
    """Data sets one behind the other, whose batches are never mixed, though fairseq shuffles their order.

    An epoch has every batch of every task once, so tasks are drawn in proportion to their sizes.

    Args:
        parts: task -> its data set.
        shuffle: whether every epoch has other batches.

    Attributes:
        first_rows: task -> its first row.
    """

    def __init__(self, parts: Mapping[str, SentenceDataset], *, shuffle: bool) -> None:
        self.parts, self.shuffle = dict(parts), shuffle
        self.sizes = np.concatenate([part.sizes for part in self.parts.values()])  # (rows of all tasks,)
        ends = np.cumsum([len(part) for part in self.parts.values()])
        self.first_rows = dict(
            zip(self.parts, (ends - [len(p) for p in self.parts.values()]).tolist(), strict=True)
        )

    def __getitem__(self, index: int) -> int:
        return int(index)

    def task_of(self, index: int) -> str:
        """Return the task of a row."""
        return [name for name, start in self.first_rows.items() if start <= index][-1]

    def num_tokens(self, index: int) -> int:
        """Return the ids of a row."""
        name = self.task_of(index)
        return self.parts[name].num_tokens(index - self.first_rows[name])

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Return the ids of several rows, of whatever tasks."""
        own = [part.num_tokens_vec(np.arange(len(part))) for part in self.parts.values()]
        return np.concatenate(own)[indices]

    def collater(self, rows: list[int]) -> dict[str, Any]:
        """Collate rows of one task, whose name the batch then has; ``{}`` for an empty batch."""
        if not rows:
            return {}
        name = self.task_of(rows[0])
        sample = self.parts[name].collater([row - self.first_rows[name] for row in rows])
        sample["net_input"]["task"] = name
        return sample

    def ordered_indices(self) -> NDArray[np.int64]:
        """Order each task's rows as its data set does."""
        ordered = [part.ordered_indices() + self.first_rows[name] for name, part in self.parts.items()]
        return np.concatenate(ordered)

    def batch_by_size(self, indices: NDArray[np.int64], **limits: Any) -> list[list[int]]:
        """Make each task's batches."""
        batches = []
        for name, part in self.parts.items():
            start = self.first_rows[name]
            own = indices[(indices >= start) & (indices < start + len(part))] - start
            batches += [np.asarray(batch) + start for batch in batches_of_all(part, own, **limits)]
        return [batch.tolist() for batch in batches]

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Every epoch of training mixes anew."""
        return not self.shuffle
