"""From a teacher's k best logits to the distribution that a student is trained against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cmlm_kd.losses.soft_targets import TeacherDistribution


class SparseTeacher(Protocol):
    """A teacher's k best entries of every token; :class:`cmlm_kd.api.SoftTargets` is one.

    Attributes:
        ids: ``(..., k)`` entries of the student's vocabulary, any integer type, best first.
        logits: ``(..., k)``, raw or log-probabilities, any float type.
        tail: ``(..., n)``, log-sum-exp of all other logits divided by each of the n tail temperatures.
        valid: ``(...)`` bool; False on tokens without a teacher.
        tail_temperatures: the n temperatures of ``tail``.
    """

    @property
    def ids(self) -> Tensor:
        """See the class."""

    @property
    def logits(self) -> Tensor:
        """See the class."""

    @property
    def tail(self) -> Tensor:
        """See the class."""

    @property
    def valid(self) -> Tensor:
        """See the class."""

    @property
    def tail_temperatures(self) -> tuple[float, ...]:
        """See the class."""


def tail_index(temperature: float, available: Sequence[float]) -> int | None:
    """Return where in ``available`` the tail at ``temperature`` is, or None."""
    for index, candidate in enumerate(available):
        if math.isclose(candidate, temperature, rel_tol=1e-6):
            return index
    return None


def teacher_distribution(
    teacher: SparseTeacher, k: int, temperature: float, *, bucket: bool, dtype: torch.dtype
) -> TeacherDistribution:
    """Return ``softmax(t / T)`` over the teacher's k best entries and, on request, the tail.

    Args:
        teacher: soft targets of ``N`` tokens (token axes folded into one) with at least k entries each.
        k: entries to use; further ones are cut, or counted into the tail.
        temperature: T > 0.
        bucket: whether everything outside the k entries is a class of its own; the teacher must carry the
            tail at T.
        dtype: of the probabilities; stored float16 logits are upcast before anything else.

    Raises:
        ValueError: if the teacher does not carry the tail it needs.
    """
    scaled = teacher.logits.to(dtype) / temperature  # (N, stored k)
    # Cut first, then the softmax: q is renormalised over the k entries.
    kept = scaled[:, :k]  # (N, k)
    if bucket:
        column = tail_index(temperature, teacher.tail_temperatures)
        if column is None:
            raise ValueError(f"teacher_distribution: no tail at temperature {temperature}")
        tail = teacher.tail[:, column : column + 1].to(dtype)  # (N, 1)
        # A tail is stored as the log of a sum of exp(t / T): entries beyond the k best add to it.
        rest = torch.cat((scaled[:, k:], tail), dim=1).logsumexp(1, keepdim=True)  # (N, 1)
        kept = torch.cat((kept, rest), dim=1)  # (N, k+1)
    # Rows without a teacher may hold anything: selected away, for a product with 0 would keep a NaN.
    invalid = ~teacher.valid.unsqueeze(-1)  # (N, 1)
    probs = kept.softmax(-1).masked_fill(invalid, 0.0)  # (N, k) or (N, k+1)
    ids = teacher.ids[:, :k].long().masked_fill(invalid, 0)  # (N, k)
    return TeacherDistribution(ids, probs[:, :k], probs[:, k] if bucket else None)
