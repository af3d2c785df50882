"""What is to be tuned: settings of a recipe with the values that they may have, and the rungs of trials."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.reading import Recipe

RANGE = ".."
"""Stands between the ends of a range."""

MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class SearchSpace:
    """The values that each setting may have.

    Attributes:
        choices: setting -> values.
        ranges: setting -> lowest and highest value, of numbers.
    """

    choices: dict[str, tuple[Any, ...]]
    ranges: dict[str, tuple[float, float]]

    @property
    def names(self) -> list[str]:
        """The settings, in the order in which they were given."""
        return [*self.choices, *self.ranges]

    def combinations(self, seed: int) -> list[dict[str, Any]] | None:
        """Return all combinations in an order drawn by lot; None where ranges make them endless."""
        if self.ranges:
            return None
        products = itertools.product(*self.choices.values())
        found = [dict(zip(self.choices, values, strict=True)) for values in products]
        random.Random(seed).shuffle(found)
        return found

    def first(self) -> dict[str, Any]:
        """Return one combination."""
        return {name: values[0] for name, values in self.choices.items()} | {
            name: low for name, (low, _) in self.ranges.items()
        }

    def others(self) -> list[dict[str, Any]]:
        """Return combinations that differ from :meth:`first` in one setting each, to its last value."""
        last = {name: values[-1] for name, values in self.choices.items()} | {
            name: high for name, (_, high) in self.ranges.items()
        }
        return [self.first() | {name: last[name]} for name in self.names]


def read_space(recipe: Recipe, given: Sequence[str]) -> SearchSpace:
    """Return the space of ``KEY=V1,V2,...`` and ``KEY=LOW..HIGH``.

    Raises:
        UserError: a setting that the recipe does not have, a value that it does not allow, a range of what is
            no number, or a single combination.
    """
    choices: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals or not text:
            raise UserError(f"--vary {item}: give KEY=VALUE,VALUE,... or KEY=LOW{RANGE}HIGH")
        if name not in recipe.settings:
            raise UserError(f"{recipe.file} has no setting {name!r}; it has {', '.join(recipe.settings)}")
        if name in choices or name in ranges:
            raise UserError(f"--vary {name} is there twice; give all its values at once")
        low, dots, high = text.partition(RANGE)
        if not dots:
            choices[name] = tuple(dict.fromkeys(_value(recipe, name, part) for part in text.split(",")))
            continue
        setting = recipe.settings[name]
        if setting.type != "number":
            raise UserError(f"--vary {item}: {name} is {setting.allowed}; list its values with commas")
        ends = (float(_value(recipe, name, low)), float(_value(recipe, name, high)))
        if not ends[0] < ends[1]:
            raise UserError(f"--vary {item}: the range is empty; give the lower number first")
        ranges[name] = ends
    count = math.prod(map(len, choices.values()))
    if not ranges and count < 2:
        raise UserError("--vary names a single combination; give two values of a setting at least")
    if count > MOST_COMBINATIONS:
        raise UserError(f"--vary names {count:,} combinations; give {MOST_COMBINATIONS:,} or fewer")
    return SearchSpace(choices, ranges)


def _value(recipe: Recipe, name: str, text: str) -> Any:
    setting = recipe.settings[name]
    try:
        return setting.parse(text)
    except (ValueError, TypeError, yaml.YAMLError):
        raise UserError(f"--vary {name}: {text!r}; it must be {setting.allowed}") from None


def rungs_of(most: int, count: int, factor: int) -> tuple[int, ...]:
    """Return after how many updates trials are compared: ``count`` rungs, each ``factor`` times the one
    before it and the last at ``most``.

    Raises:
        UserError: the first would be less than one update.
    """
    first = most // factor ** (count - 1)
    if first < 1:
        raise UserError(
            f"--rungs {count} with --factor {factor} leave the first rung no update of {most}; give fewer"
        )
    return (*(first * factor**rung for rung in range(count - 1)), most)


def check_budget(budget: int, rungs: Sequence[int]) -> None:
    """Refuse a budget in which no two trials could be compared.

    Raises:
        UserError: naming the least that makes sense.
    """
    least = 2 * rungs[0]
    if budget < least:
        raise UserError(
            f"--budget is {budget:,} updates, but two trials on the first rung take {least:,} "
            f"({rungs[0]:,} each); raise it, or make the first rung shorter by more --rungs"
        )


def as_flags(values: Mapping[str, Any]) -> str:
    """Return a combination as what follows ``--set``."""
    return " ".join(f"{name}={shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """Return a value as the command line takes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
