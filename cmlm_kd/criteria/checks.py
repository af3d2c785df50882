"""Refusals that criteria have in common: models and batches that they cannot work with."""

from __future__ import annotations

from typing import Literal, TypeVar

from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.errors import UserError

Part = TypeVar("Part")

Reading = Literal["paper", "original"]
"""``--kd-mode``: the formula as the paper prints it, or the arithmetic of the code released with it."""


def check_same_heads(owner: str, student: ModelDescription, teacher: ModelDescription) -> None:
    """Refuse models whose attention heads cannot be compared one by one.

    Raises:
        UserError: naming both models.
    """
    if student.heads != teacher.heads:
        raise UserError(
            f"{owner}: {student.name} and {teacher.name} have {student.heads} and {teacher.heads} attention "
            f"heads, which are compared one by one; give the student as many (a new one with --heads "
            f"{teacher.heads}), or leave attention out with --kd-attention-weight 0"
        )


def takes_fused(owner: str, implementation: str, obstacle: str | None) -> bool:
    """Return whether the implementation without a matrix of logits is to be used.

    Args:
        owner: the criterion, for messages.
        implementation: ``--kd-implementation``: ``auto``, ``fused`` or ``dense``.
        obstacle: None, or why it cannot be used.

    Raises:
        UserError: if it must be used and there is an obstacle.
    """
    if implementation == "fused" and obstacle is not None:
        raise UserError(
            f"{owner}: --kd-implementation fused does not work here: {obstacle}; use "
            "--kd-implementation auto or dense"
        )
    return implementation != "dense" and obstacle is None


def required(part: Part | None, owner: str) -> Part:
    """Return a part of a batch that a criterion's needs asked for.

    Raises:
        ValueError: if it is missing, naming the criterion.
    """
    if part is None:
        raise ValueError(f"{owner}: the batch carries no teacher's signal")
    return part
