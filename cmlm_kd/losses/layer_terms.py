"""What the inside of a student lacks to its teacher's: differences of hidden states and of attention scores.

TinyBERT's terms (Jiao et al., 2020, eq. 7-9), one value per sentence, for encoders and translators alike.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cmlm_kd.losses.divergences import widen

SCORE_FLOOR = -1e2
"""Scores at or below it are masked ones in the released code, which adds -10,000 to padding's columns."""


def attention_term(
    student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Literal["paper", "original"]
) -> Tensor:
    """Return the mean squared difference of one layer's attention scores, ``(B,)``.

    Args:
        student: ``(B, H, L, L)`` scores before the softmax, without or with a mask added.
        teacher: the same of the teacher's layer; as many heads.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: ``paper`` or ``original``, see :mod:`cmlm_kd.criteria.tinybert`.
    """
    student, teacher = widen(student), widen(teacher)
    if mode == "original":
        student, teacher = (_floored(scores, mask) for scores in (student, teacher))
        return (student - teacher).square().mean((1, 2, 3))
    # Eq. 7 is an MSE over l x l scores: rows and columns of padding are not the sentence's own.
    if mask is None:
        return (student - teacher).square().mean((1, 2, 3))
    real = mask.bool()  # (B, L)
    return score_term(student, teacher, real[:, :, None] & real[:, None, :])


def score_term(student: Tensor, teacher: Tensor, pairs: Tensor) -> Tensor:
    """Return the mean squared difference of scores over the pairs of positions that count, ``(B,)``.

    Args:
        student: ``(B, H, T, S)`` scores before the softmax.
        teacher: the same of the teacher's layer; as many heads.
        pairs: ``(B, T, S)`` bool; 0 for a sentence without any.
    """
    # Left out before they are squared: two masks of -inf differ by NaN, whose gradient no later 0 takes away.
    difference = (widen(student) - widen(teacher)).masked_fill(~pairs[:, None], 0.0)  # (B, H, T, S)
    return difference.square().mean(1).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def _floored(scores: Tensor, mask: Tensor | None) -> Tensor:
    # The same on both sides, so that a masked score adds 0 whatever number each model masks with.
    masked = scores <= SCORE_FLOOR  # (B, H, L, L)
    if mask is not None:
        masked = masked | ~mask.bool()[:, None, None, :]
    return scores.masked_fill(masked, 0.0)


def hidden_term(
    student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Literal["paper", "original"]
) -> Tensor:
    """Return the mean squared difference of one layer's states, or of the embeddings, ``(B,)``.

    Args:
        student: ``(B, L, d)`` after the projection to the teacher's width.
        teacher: ``(B, L, d)``.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: ``paper`` or ``original``, see :mod:`cmlm_kd.criteria.tinybert`.
    """
    squares = (widen(student) - widen(teacher)).square().mean(2)  # (B, L)
    if mask is None or mode == "original":
        return squares.mean(1)
    real = mask.bool()  # (B, L)
    return squares.masked_fill(~real, 0.0).sum(1) / real.sum(1).clamp(min=1)
