"""Ranges of numbers that a user sets, and the one way to say that a value is outside its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from cmlm_kd.errors import UserError


class Range(NamedTuple):
    """The numbers that a setting may have.

    Attributes:
        allowed: the range in words that follow "must be", such as ``in [0, 1]``.
        contains: whether a number is in it; NaN is in no range.
    """

    allowed: str
    contains: Callable[[float], bool]


SHARE = Range("in [0, 1]", lambda value: 0.0 <= value <= 1.0)
SHARE_ABOVE_ZERO = Range("in (0, 1]", lambda value: 0.0 < value <= 1.0)
SHARE_BELOW_ONE = Range("in [0, 1)", lambda value: 0.0 <= value < 1.0)
POSITIVE = Range("above 0", lambda value: 0.0 < value < math.inf)
NOT_NEGATIVE = Range("0 or more", lambda value: 0.0 <= value < math.inf)


def at_least(least: int) -> Range:
    """Return the range of finite numbers from ``least`` on."""
    return Range(f"at least {least}", lambda value: least <= value < math.inf)


AT_LEAST_ONE = at_least(1)


def between(least: int, most: int) -> Range:
    """Return the range from ``least`` to ``most``, for numbers that decide how long something takes."""
    return Range(f"from {least:,} to {most:,}", lambda value: least <= value <= most)


MODEL_SIZE = between(1, 65_536)
"""Of layers, widths, heads and positions: no model of ours is larger, and no memory holds much more."""


def check_range(
    flag: str, value: float, allowed: Range, *, owner: str = "", hint: str = "", joint: str = "; "
) -> None:
    """Refuse a value outside its range.

    Args:
        flag: as the user writes it, such as ``--speed``.
        value: what the user gave.
        allowed: the range.
        owner: the criterion, model or task that has the flag; the message begins with it.
        hint: what is usual, or what to do next; the message ends with it.
        joint: stands between the value and what it must be; messages never change, and some have a comma.

    Raises:
        UserError: such as ``pkd: --kd-alpha is 1.5; it must be in [0, 1]``.
    """
    if not allowed.contains(value):
        place, more = f"{owner}: " if owner else "", f"; {hint}" if hint else ""
        raise UserError(f"{place}{flag} is {value}{joint}it must be {allowed.allowed}{more}")


def setting(meaning: str, allowed: Range | None = None) -> dict[str, Any]:
    """Return the metadata of a config's field, from which its flag's help and its page are written.

    Args:
        meaning: a phrase; what follows a semicolon is a remark.
        allowed: the range of a number, which :func:`check_settings` reads and ``help`` names.
    """
    phrase, semicolon, remark = meaning.partition(";")
    text = f"{phrase}, {allowed.allowed}{semicolon}{remark}" if allowed else meaning
    return {"help": text, "meaning": meaning, "range": allowed}


def check_settings(owner: str, config: Any) -> None:
    """Refuse a config one of whose fields is outside the range that its :func:`setting` names.

    Args:
        owner: whose settings they are, for messages.
        config: a dataclass; a field that is None stands for a default and is not looked at.

    Raises:
        UserError: naming the flag of the first field that does not fit.
    """
    for field in dataclasses.fields(config):
        allowed, value = field.metadata.get("range"), getattr(config, field.name)
        if allowed is not None and value is not None:
            check_range(f"--{field.name.replace('_', '-')}", value, allowed, owner=owner)
