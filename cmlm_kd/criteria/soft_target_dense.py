"""The terms of ``soft_target_kd`` the plain way: log-probabilities of everything, then gathered.

:mod:`cmlm_kd.criteria.soft_target` has the equation, :mod:`cmlm_kd.criteria.soft_target_fused` the same
without the (tokens, vocabulary) matrix; tests prove both equal in value and gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.criteria.teacher_distribution import TeacherDistribution
from cmlm_kd.losses import (
    SmoothingMode,
    label_smoothed_nll,
    log_mass_outside,
    negative_log_likelihood,
    sparse_cross_entropy,
    widen,
)


@dataclass(frozen=True)
class TokenTerms:
    """The parts of the loss a token, each ``(N,)`` in nats: NLL, label-smoothed NLL, KD (times T^2 if so
    defined)."""

    nll: Tensor
    hard: Tensor
    soft: Tensor

    def select(self, rows: Tensor) -> TokenTerms:
        """Return the terms of the tokens ``rows``."""
        return TokenTerms(self.nll[rows], self.hard[rows], self.soft[rows])

    def detach(self) -> TokenTerms:
        """Return the terms without their history."""
        return TokenTerms(self.nll.detach(), self.hard.detach(), self.soft.detach())


def soft_target_terms(
    logits: Tensor,
    target: Tensor,
    teacher: TeacherDistribution | None,
    *,
    epsilon: float,
    mode: SmoothingMode,
    temperature: float = 1.0,
) -> TokenTerms:
    """Return the terms of the loss, each a token.

    Args:
        logits: ``(N, V)`` of the student, any float type; log-probabilities do as well.
        target: ``(N,)`` gold entries.
        teacher: the teacher's distribution at its own temperature, or None for hard labels alone.
        epsilon: label smoothing.
        mode: of label smoothing, see :func:`cmlm_kd.losses.smoothing_weights`.
        temperature: of the student in the KD term, which is then multiplied by its square.
    """
    wide = widen(logits)  # (N, V)
    log_probs = F.log_softmax(wide, -1)  # (N, V)
    nll = negative_log_likelihood(log_probs, target)  # (N,)
    hard = label_smoothed_nll(log_probs, target, epsilon, mode)  # (N,)
    if teacher is None:
        return TokenTerms(nll, hard, torch.zeros_like(nll))
    tempered = log_probs if temperature == 1.0 else F.log_softmax(wide / temperature, -1)  # (N, V)
    soft = sparse_cross_entropy(tempered, teacher.ids, teacher.probs)  # (N,)
    if teacher.outside is not None:
        soft = soft - teacher.outside * log_mass_outside(tempered, teacher.ids)
    return TokenTerms(nll, hard, temperature**2 * soft)
