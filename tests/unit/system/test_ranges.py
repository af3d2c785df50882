"""Ranges of numbers, and the sentence that refuses a value outside of one."""

import math
from dataclasses import dataclass, field

import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    SHARE_ABOVE_ZERO,
    SHARE_BELOW_ONE,
    at_least,
    between,
    check_range,
    check_settings,
    setting,
)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (SHARE, (0, 0.5, 1), (-0.1, 1.1)),
        (SHARE_ABOVE_ZERO, (0.1, 1), (0, 1.1)),
        (SHARE_BELOW_ONE, (0, 0.9), (-0.1, 1)),
        (POSITIVE, (1e-9, 100), (0, -1)),
        (NOT_NEGATIVE, (0, 100), (-1,)),
        (AT_LEAST_ONE, (1, 100), (0, 0.5)),
        (at_least(3), (3, 4), (2,)),
        (between(3, 5), (3, 4, 5), (2, 6)),
    ],
    ids=lambda value: getattr(value, "allowed", None),
)
def test_what_a_range_contains(allowed, inside, outside):
    assert all(allowed.contains(value) for value in inside)
    assert not any(allowed.contains(value) for value in (*outside, math.nan, math.inf, -math.inf))


def test_the_sentence():
    with pytest.raises(UserError) as refusal:
        check_range("--kd-alpha", 1.5, SHARE, owner="pkd", hint="0.7 is usual")
    assert str(refusal.value) == "pkd: --kd-alpha is 1.5; it must be in [0, 1]; 0.7 is usual"
    with pytest.raises(UserError) as refusal:
        check_range("--layers", 0, AT_LEAST_ONE, joint=", ")
    assert str(refusal.value) == "--layers is 0, it must be at least 1"
    check_range("--kd-alpha", 1.0, SHARE)


@dataclass
class Config:
    kd_alpha: float | None = field(default=None, metadata=setting("weight; 0: none", SHARE))
    kd_mode: str = field(default="paper", metadata=setting("how"))


def test_settings_are_checked_by_their_fields():
    check_settings("example", Config())  # None stands for a default
    check_settings("example", Config(1.0))
    with pytest.raises(UserError, match=r"example: --kd-alpha is 2; it must be in \[0, 1\]"):
        check_settings("example", Config(2))


def test_help_names_the_range():
    assert setting("weight; 0: none", SHARE)["help"] == "weight, in [0, 1]; 0: none"
    assert setting("how")["help"] == "how"
