"""What the inside of a student lacks to its teacher's: differences of hidden states and of attention scores.

TinyBERT's terms (Jiao et al., 2020, eq. 7-9), one value per sentence, for encoders and translators alike.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cmlm_kd.losses.divergences import widen

CACHED = 1 << 17
"""Numbers of a difference at once on a CPU: half a megabyte in float32, which its cache holds."""

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
    if mode == "original":
        student, teacher = (_floored(widen(scores), mask) for scores in (student, teacher))
        return _squared_distance(student, teacher, None) / student[0].numel()
    # Eq. 7 is an MSE over l x l scores: rows and columns of padding are not the sentence's own.
    if mask is None:
        return _squared_distance(student, teacher, None) / student[0].numel()
    real = mask.bool()  # (B, L)
    return score_term(student, teacher, real[:, :, None] & real[:, None, :])


def score_term(student: Tensor, teacher: Tensor, pairs: Tensor) -> Tensor:
    """Return the mean squared difference of scores over the pairs of positions that count, ``(B,)``.

    Args:
        student: ``(B, H, T, S)`` scores before the softmax.
        teacher: the same of the teacher's layer; as many heads.
        pairs: ``(B, T, S)`` bool; 0 for a sentence without any.
    """
    count = student.size(1) * pairs.sum((1, 2)).clamp(min=1)  # (B,)
    return _squared_distance(student, teacher, pairs[:, None]) / count


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
    if mask is None or mode == "original":
        return _squared_distance(student, teacher, None) / student[0].numel()
    real = mask.bool()  # (B, L)
    count = student.size(2) * real.sum(1).clamp(min=1)  # (B,)
    return _squared_distance(student, teacher, real[:, :, None]) / count


def _squared_distance(student: Tensor, teacher: Tensor, counted: Tensor | None) -> Tensor:
    """Return the sum of ``(student - teacher)^2`` over all axes but the first, ``(B,)``.

    Args:
        student: ``(B, ..., n)``, of any precision; summed in float32 or float64.
        teacher: likewise.
        counted: bool, broadcast to it; what is False adds 0, whatever is there. None where all counts.
    """
    distance: Tensor = _SquaredDistance.apply(student, teacher, counted)  # type: ignore[no-untyped-call]
    return distance


class _SquaredDistance(torch.autograd.Function):
    """The sum of squared differences, with its gradient ``2 (student - teacher)`` in one pass.

    ``difference.square().mean()`` makes eight tensors of the states' size forward and backward, which took
    four per cent of a small translator's step; this makes two: the difference and the gradient.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, counted: Tensor | None) -> Tensor:
        ctx.save_for_backward(student, teacher, counted)
        rows = max(1, CACHED // student[0].numel()) if student.device.type == "cpu" else len(student)
        parts = []
        for start in range(0, len(student), rows):
            cut = slice(start, start + rows)
            difference = _difference(student[cut], teacher[cut], None if counted is None else counted[cut])
            # The norm reads the difference once and writes nothing of its size.
            parts.append(torch.linalg.vector_norm(difference, dim=-1).square().flatten(1).sum(1))
        return torch.cat(parts)  # (B,)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        student, teacher, counted = ctx.saved_tensors
        scale = (2 * above).view(-1, *[1] * (student.dim() - 1))  # (B, 1, ...)
        gradient = _difference(student, teacher, counted).mul_(scale)  # (B, ..., n)
        of_student, of_teacher = ctx.needs_input_grad[:2]
        return (
            gradient.to(student.dtype) if of_student else None,
            (-gradient).to(teacher.dtype) if of_teacher else None,
            None,
        )


def _difference(student: Tensor, teacher: Tensor, counted: Tensor | None) -> Tensor:
    difference = widen(student) - widen(teacher)
    # 0 before it is squared: two masks of -inf differ by NaN, whose gradient no later 0 takes away.
    return difference if counted is None else difference.masked_fill_(~counted, 0.0)
