"""What a teacher says on a whole: how sure it is, how often it is right, and whether it knows the text by
heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store.format import LOWEST_LOGIT, ShardView
from cmlm_kd.store.reader import SoftTargetStore

BY_HEART = 0.5
"""A teacher whose reference's tokens cost less than this share of what they cost on other text knows its
training set by heart. A rule of thumb of ours."""


ENOUGH_MASS = 0.85
"""Of the k entries together. A rule of thumb of ours, from students on captions: with 0.89 instead of 0.82
they learnt faster (docs/results.md)."""

_COLUMNS = 6


@dataclass(frozen=True)
class TeacherStatistics:
    """Means over the tokens of all sentences with a teacher row; NaN where there are none.

    Attributes:
        best: share of the tokens at which the teacher's best entry is the reference's token, in [0, 1].
        any_of_k: share at which one of its k entries is.
        entropy: of its distribution, in bits; the mass outside the k entries counts as one more entry.
        reference_bits: what the reference's token costs, minus the binary logarithm of its probability; one
            that is not among the k entries counts with the mass of all that are not, so that this is the
            least that it may be.
        mass_of_k: mean probability of the k entries together, in [0, 1]. The rest is one lump to the student.
        of_reference_alone: share of the tokens at which nothing but the reference's token has a probability
            of its own. That is so where a teacher has tokens that do not begin where the student's do.
    """

    best: float
    any_of_k: float
    entropy: float
    reference_bits: float
    mass_of_k: float
    of_reference_alone: float

    @property
    def says_little_of_k(self) -> bool:
        """Whether much of what the teacher believes lies outside of the k entries."""
        return self.mass_of_k < ENOUGH_MASS

    def knows_by_heart(self, elsewhere: TeacherStatistics) -> bool:
        """Return whether the teacher is so much surer of these references than of others.

        Args:
            elsewhere: what it says on text that it was not trained on.
        """
        return self.reference_bits < BY_HEART * elsewhere.reference_bits and self.best > elsewhere.best


def teacher_statistics(store: SoftTargetStore, target: Databin) -> TeacherStatistics:
    """Return the means of a store beside the references that it belongs to.

    Args:
        store: the soft targets; the tail is read at the temperature nearest to 1, as if it were 1.
        target: the target sentences, :meth:`SoftTargetStore.check` passed.
    """
    sums = np.zeros(_COLUMNS)
    tokens = 0
    column = tail_nearest_to_one(store.tail_temperatures)
    for shard, record in zip(store.shards, store.manifest.shards, strict=True):
        lengths = target.sizes[record.first_row : record.first_row + record.rows]  # (rows,)
        taught = np.repeat(np.diff(shard.offsets) > 0, lengths)  # (tokens of all rows,)
        references = target.tokens[target.span(record.first_row, record.rows)][taught]  # (tokens,)
        sums += _sums(shard, references, column)
        tokens += len(references)
    means = sums / tokens if tokens else np.full(_COLUMNS, np.nan)
    return TeacherStatistics(*means.tolist())


def tail_nearest_to_one(temperatures: Sequence[float]) -> int:
    """Return which of a store's tail temperatures is nearest to 1, as a factor."""
    return int(np.argmin(np.abs(np.log(temperatures))))


def reference_accuracy(store: SoftTargetStore, target: Databin) -> tuple[float, float]:
    """Return how often a store's best entry, and any of its k entries, is the reference's token.

    Args:
        store: the soft targets.
        target: the target sentences that they belong to, :meth:`SoftTargetStore.check` passed.

    Returns:
        Two shares of the tokens of all sentences with a teacher row, in [0, 1]; NaN where there are none.
    """
    said = teacher_statistics(store, target)
    return said.best, said.any_of_k


def _sums(shard: ShardView, references: NDArray[np.integer], column: int) -> NDArray[np.float64]:
    """Return the sums over a shard of each of :class:`TeacherStatistics`."""
    right = shard.ids == references[:, None]  # (tokens, k)
    log_masses = np.concatenate(
        [shard.logits, shard.tail[:, column : column + 1]], axis=1, dtype=np.float64
    )  # (tokens, k + 1)
    total = np.logaddexp.reduce(log_masses, axis=1, keepdims=True)  # (tokens, 1)
    log_probs = (log_masses - total) / np.log(2)  # (tokens, k + 1), binary; perhaps minus infinity
    probs = np.exp2(log_probs)
    entropy = -np.sum(probs * np.where(probs > 0, log_probs, 0.0), axis=1)  # (tokens,)
    among = right.any(axis=1)  # (tokens,)
    reference = np.where(among, np.max(np.where(right, log_probs[:, :-1], -np.inf), axis=1), log_probs[:, -1])
    # The least of a float16 tail is a mass of 0; nothing is so unlikely that it costs more than this.
    cost = -np.maximum(reference, np.log2(np.finfo(np.float64).tiny))  # (tokens,)
    alone = right[:, 0] & (shard.logits[:, 1:] == LOWEST_LOGIT).all(axis=1)  # (tokens,)
    alone &= shard.ids.shape[1] > 1
    columns = (right[:, 0], among, entropy, cost, 1.0 - probs[:, -1], alone)
    return np.array([float(values.sum()) for values in columns])
