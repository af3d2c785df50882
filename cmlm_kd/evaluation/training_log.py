"""Learning curves out of the logs of fairseq-train, as a table and as a picture."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.differences import runs_by_system, system_of
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

    Reads what ``--log-file`` holds in any ``--log-format``, and the standard error of the same run. Without
    this project's plug-in fairseq writes a line several times, and a resumed run repeats validations: of
    equal updates the last one counts.

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


Curves = Mapping[str, Sequence[ValidationPoint]]
"""Student -> its validations."""

PANELS = {"bleu": ("validation BLEU", True), "nll_loss": ("validation NLL (bits per token)", False)}
"""Measure -> label of its axis, and whether more is better."""

# Colours that the colour-blind tell apart, and markers for paper without colour.
_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))


def shared_measures(curves: Curves) -> list[str]:
    """Return which measures every student has: BLEU, negative log-likelihood or both.

    Raises:
        UserError: there is none.
    """
    names = [name for name in PANELS if all(any(name in p.measures for p in c) for c in curves.values())]
    if not names:
        raise UserError(f"the logs of {', '.join(curves)} share neither bleu nor nll_loss; nothing to draw")
    return names


def best_point(points: Sequence[ValidationPoint], measure: str, more_is_better: bool) -> ValidationPoint:
    """Return the first validation at which a measure was best; all points have it."""
    return (max if more_is_better else min)(points, key=lambda point: point.measures[measure])


def write_csv(path: Path, curves: Curves) -> None:
    """Write one line a validation: student, updates, epoch and every measure that all students have."""
    names = shared_measures(curves)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["student", "updates", "epoch", *names])
        for student, points in curves.items():
            for point in points:
                values = [point.measures.get(name, "") for name in names]
                writer.writerow([student, point.updates, point.epoch, *values])


def write_png(path: Path, curves: Curves) -> None:
    """Draw one panel a measure, each student's best validation filled; its runs look alike."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = shared_measures(curves)
    systems = runs_by_system(curves)
    first = {runs[0] for runs in systems.values()}
    figure = Figure(figsize=(5.5 * len(names), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        label, more_is_better = PANELS[name]
        for student, points in curves.items():
            number = list(systems).index(system_of(student))
            colour, marker = _STYLES[number % len(_STYLES)]
            measured = [point for point in points if name in point.measures]
            best = best_point(measured, name, more_is_better)
            updates, values = zip(*((point.updates, point.measures[name]) for point in measured), strict=True)
            axes.plot(
                updates,
                values,
                color=colour,
                marker=marker,
                markerfacecolor="none",
                markersize=4,
                label=system_of(student) if student in first else None,
            )
            axes.plot(best.updates, best.measures[name], color=colour, marker=marker, markersize=7)
        axes.set_xlabel("updates")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
