"""What every criterion refuses in the same words: settings, models and batches that it cannot work with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.errors import UserError

Value = TypeVar("Value")


class Range(NamedTuple):
    """Which numbers a setting may have.

    Attributes:
        allowed: the same in words.
        contains: whether it may be this number; NaN is in no range.
    """

    allowed: str
    contains: Callable[[float], bool]


SHARE = Range("in [0, 1]", lambda value: 0.0 <= value <= 1.0)
SHARE_BELOW_ONE = Range("in [0, 1)", lambda value: 0.0 <= value < 1.0)
POSITIVE = Range("above 0", lambda value: 0.0 < value < math.inf)
NOT_NEGATIVE = Range("0 or more", lambda value: 0.0 <= value < math.inf)
AT_LEAST_ONE = Range("at least 1", lambda value: 1.0 <= value < math.inf)


def check_settings(owner: str, config: object, **ranges: Range) -> None:
    """Refuse a setting outside its range.

    Args:
        owner: the criterion, for messages.
        config: its settings; one that is None stands for a default and is not looked at.
        ranges: name of a setting -> its range.

    Raises:
        UserError: naming the flag and the range of the first that does not fit.
    """
    for name, allowed in ranges.items():
        value = getattr(config, name)
        if value is not None and not allowed.contains(value):
            flag = name.replace("_", "-")
            raise UserError(f"{owner}: --{flag} must be {allowed.allowed}, got {value}")


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


def present(value: Value | None, owner: str) -> Value:
    """Return a part of a batch that a criterion's needs asked for.

    Raises:
        ValueError: if it is missing, naming the criterion.
    """
    if value is None:
        raise ValueError(f"{owner}: the batch carries no teacher's signal")
    return value
