"""From stored soft targets to the distribution a student is trained against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cmlm_kd.losses import entropy
from cmlm_kd.signals import SoftTargets


@dataclass(frozen=True)
class TeacherDistribution:
    """A distribution over k entries, and optionally over "anything else".

    Attributes:
        ids: ``(N, k)`` int64, entries of the student's vocabulary.
        probs: ``(N, k)``; 0 on tokens without a teacher.
        outside: ``(N,)``, the probability of everything outside ``ids``, or None where the k entries are all
            there is.
    """

    ids: Tensor
    probs: Tensor
    outside: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> TeacherDistribution:
        """Return the distribution of the tokens ``rows``, an index or a mask."""
        outside = None if self.outside is None else self.outside[rows]
        return TeacherDistribution(self.ids[rows], self.probs[rows], outside)

    def entropy(self) -> Tensor:
        """Return the entropy in nats a token, ``(N,)``."""
        inside = entropy(self.probs)  # (N,)
        return inside if self.outside is None else inside + entropy(self.outside.unsqueeze(-1))


def tail_index(temperature: float, available: Sequence[float]) -> int | None:
    """Return where in ``available`` the tail at ``temperature`` is, or None."""
    for index, candidate in enumerate(available):
        if math.isclose(candidate, temperature, rel_tol=1e-6):
            return index
    return None


def teacher_distribution(
    teacher: SoftTargets, k: int, temperature: float, *, bucket: bool, dtype: torch.dtype
) -> TeacherDistribution:
    """Return ``softmax(t / T)`` over the teacher's k best entries and, on request, the tail.

    Args:
        teacher: soft targets of ``N`` tokens (:meth:`SoftTargets.flatten`) with at least k entries each.
        k: entries to use; further ones are cut, or counted into the tail.
        temperature: T > 0.
        bucket: whether everything outside the k entries is a class of its own; the teacher must carry the
            tail at T.
        dtype: of the probabilities; stored float16 logits are upcast before anything else.

    Raises:
        ValueError: if the teacher does not carry the tail it needs.
    """
    scaled = teacher.logits.to(dtype) / temperature  # (N, stored k)
    kept = scaled[:, :k]  # (N, k)
    if bucket:
        column = tail_index(temperature, teacher.tail_temperatures)
        if column is None:
            raise ValueError(f"teacher_distribution: no tail at temperature {temperature}")
        tail = teacher.tail[:, column : column + 1].to(dtype)  # (N, 1)
        rest = torch.cat((scaled[:, k:], tail), dim=1).logsumexp(1, keepdim=True)  # (N, 1)
        kept = torch.cat((kept, rest), dim=1)  # (N, k+1)
    # Rows without a teacher may hold anything: selected away, for a product with 0 would keep a NaN.
    invalid = ~teacher.valid.unsqueeze(-1)  # (N, 1)
    probs = kept.softmax(-1).masked_fill(invalid, 0.0)  # (N, k) or (N, k+1)
    ids = teacher.ids[:, :k].long().masked_fill(invalid, 0)  # (N, k)
    return TeacherDistribution(ids, probs[:, :k], probs[:, k] if bucket else None)
