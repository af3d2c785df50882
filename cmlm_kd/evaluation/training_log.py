"""Learning curves out of the logs of fairseq-train."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import read_lines

_TAG = "valid_"
_SIMPLE = re.compile(r"epoch (\d+) \| valid on '[^']*' subset \| (.*)")


@dataclass(frozen=True)
class ValidationPoint:
    """One validation of a training run.

    Attributes:
        updates: optimiser steps before it.
        epoch: counted from 1.
        measures: name -> value, as fairseq names them (``nll_loss``, ``bleu``, ...).
    """

    updates: int
    epoch: int
    measures: Mapping[str, float]


def read_validations(path: Path) -> list[ValidationPoint]:
    """Return the validations in a log of ``fairseq-train``, by updates.

    Reads what ``--log-file`` holds in any ``--log-format``, and the standard error of the same run. fairseq
    writes a line several times, and a resumed run repeats validations: of equal updates the last one counts.

    Raises:
        UserError: the file is missing, or holds no validation.
    """
    points = {point.updates: point for point in _parse(read_lines(path))}
    if not points:
        raise UserError(f"{path} has no validation; give the --log-file of fairseq-train")
    return [points[updates] for updates in sorted(points)]


def best_value(path: Path, metric: str, *, minimize: bool = False) -> float:
    """Return the best value that a metric reached on validation in a log.

    Raises:
        UserError: the file is missing, or no validation has the metric, naming those there are.
    """
    points = read_validations(path)
    values = [point.measures[metric] for point in points if metric in point.measures]
    if not values:
        known = ", ".join(sorted(set().union(*(point.measures for point in points))))
        raise UserError(f"{path}: no validation has {metric!r}; there are {known}")
    return min(values) if minimize else max(values)


def _parse(lines: Iterable[str]) -> Iterable[ValidationPoint]:
    for line in lines:
        measures = _json_measures(line) or _simple_measures(line)
        if "num_updates" in measures and "epoch" in measures:
            updates, epoch = (int(measures.pop(name)) for name in ("num_updates", "epoch"))
            yield ValidationPoint(updates, epoch, measures)


def _json_measures(line: str) -> dict[str, float]:
    start = line.find("{")
    if start < 0 or _TAG not in line or not line.endswith("}"):
        return {}
    try:
        document = json.loads(line[start:])
    except ValueError:
        return {}
    named = {key.removeprefix(_TAG): value for key, value in document.items() if key.startswith(_TAG)}
    return _numbers({**named, "epoch": document.get("epoch")}) if named else {}


def _simple_measures(line: str) -> dict[str, float]:
    match = _SIMPLE.search(line)
    if match is None:
        return {}
    pairs = (item.split(" ", 1) for item in match[2].split(" | ") if " " in item)
    return _numbers({"epoch": match[1], **dict(pairs)})


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        try:
            number = float(str(value))
        except ValueError:
            continue
        if math.isfinite(number):
            found[name] = number
    return found
