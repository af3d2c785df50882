"""Several runs of the same training, which differ in their seed, as one line of a table; and whether two of
them differ by more than seeds and examples do by chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.differences import SEPARATOR, Difference, difference_of_means, system_of
from cmlm_kd.evaluation.glue import METRICS, Numbers, usual_metrics
from cmlm_kd.system.files import file_name
from cmlm_kd.system.manifests import check_document, read_object
from cmlm_kd.system.text import read_lines, table

RESAMPLES = 1000
FEWEST_EXAMPLES = 2
SLACK = 1e-6  # what sums of floats may be off
HALF_STEP = 0.0005
"""How far a score in predictions is off the model's, at most: three decimals are written."""


@dataclass(frozen=True)
class Run:
    """What 'cmlm-kd evaluate' says of one model.

    Attributes:
        name: of the model, ``SYSTEM@SEED`` or ``SYSTEM``.
        metrics: name -> value times 100.
        parameters: numbers learnt.
        speed: batch size, as text -> examples per second.
        predicted: ``(N,)`` classes or scores.
        target: ``(N,)``, likewise.
    """

    name: str
    metrics: Mapping[str, float]
    parameters: int
    speed: Mapping[str, float]
    predicted: Numbers
    target: Numbers

    @property
    def system(self) -> str:
        """What is trained with several seeds."""
        return system_of(self.name)


@dataclass(frozen=True)
class _Model:
    """What the results say of a model."""

    name: str
    metrics: dict[str, float]
    parameters: int
    examples_per_second: dict[str, float]


@dataclass(frozen=True)
class _Results:
    """The results, as far as they are read."""

    models: list[_Model]


def read_runs(results: Path, predictions: Path) -> list[Run]:
    """Read what ``cmlm-kd evaluate --format json --predictions DIR`` wrote.

    Args:
        results: its JSON.
        predictions: the directory of its predictions, ``NAME.tsv`` for each model.

    Raises:
        UserError: if a file is missing, they are not of the same two or more labelled examples, a model is
            there twice, or its predictions have other metrics than its results.
    """
    remedy = "give what 'cmlm-kd evaluate --format json' wrote"
    document = check_document(results, read_object(results, remedy), _Results, remedy)
    if not document.models:
        raise UserError(f"{results} names no model; {remedy}")
    names = [model.name for model in document.models]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{results} names {twice[0]} twice; give each run a name of its own")
    runs = [_run(model, results, predictions) for model in document.models]
    first = runs[0]
    for run in runs:
        if not run.metrics or list(run.metrics) != list(first.metrics):
            raise UserError(
                f"{results}: {run.name} and {first.name} were not measured by the same metrics; "
                "give runs of one evaluation"
            )
        if not np.array_equal(run.target, first.target):
            raise UserError(
                f"{predictions}: {run.name} and {first.name} are not of the same examples; "
                "give predictions for one file"
            )
        _check_metrics(run, results, _predictions_of(run.name, predictions))
    return runs


def _predictions_of(name: str, predictions: Path) -> Path:
    return predictions / f"{file_name('model', name)}.tsv"


def _run(model: _Model, results: Path, predictions: Path) -> Run:
    path = _predictions_of(model.name, predictions)
    if not path.is_file():
        raise UserError(
            f"{results} names {model.name}, and {path} does not exist; give the --predictions that 'cmlm-kd "
            "evaluate' wrote with it"
        )
    predicted, target = _read_predictions(path)
    if len(target) < FEWEST_EXAMPLES:
        raise UserError(
            f"{path} has {len(target)} of the {FEWEST_EXAMPLES} examples or more that a test takes; evaluate "
            "on a larger set"
        )
    return Run(model.name, model.metrics, model.parameters, model.examples_per_second, predicted, target)


def _check_metrics(run: Run, results: Path, path: Path) -> None:
    """Refuse results that are not of these predictions.

    Raises:
        UserError: naming the metric and both files.
    """
    known = usual_metrics(2 if np.issubdtype(run.target.dtype, np.integer) else 0)
    for metric, value in run.metrics.items():
        if metric not in known:
            raise UserError(
                f"{results}: {run.name} has {metric!r}, of such predictions as {path} there are "
                f"{', '.join(known)}; give what 'cmlm-kd evaluate' wrote"
            )
        again = 100 * METRICS[metric](run.predicted, run.target)
        rounding = _rounding(metric, run.predicted, run.target)
        # All metrics end at 100, correlations begin at -100. Written so that NaN is refused.
        if not max(-100, again - rounding) - SLACK <= value <= min(100, again + rounding) + SLACK:
            raise UserError(
                f"{results}: {run.name} has {metric} {value:g}, its predictions {path} have {again:g}; "
                "give the --predictions that 'cmlm-kd evaluate' wrote with it"
            )


def _rounding(metric: str, predicted: Numbers, target: Numbers) -> float:
    """Return by how much a metric of what the predictions say is off the model's, times 100, at most.

    Classes are written in full. A correlation is the cosine of two centred vectors; one that is moved by a
    share s of its length moves it by 2 s at most. Rounding keeps the order of scores, so that ranks move
    among equal ones alone.
    """
    share = 0.0
    for values in (predicted, target) if metric in ("pearson", "spearman") else ():
        if metric == "pearson":
            moved = HALF_STEP**2 * len(values)
            spread = len(values) * float(np.var(values))
        else:
            counts = np.unique(values, return_counts=True)[1].astype(np.float64)  # (distinct values,)
            moved = float((counts**3 - counts).sum()) / 12  # variance of the ranks 1 ... c is (c^2 - 1) / 12
            spread = float(len(values) ** 3 - len(values)) / 12 - moved
        share += math.sqrt(moved / spread) if spread > 0 else math.inf
    return 200 * share


def _read_predictions(path: Path) -> tuple[Numbers, Numbers]:
    """Return predictions and targets ``(N,)``; a class is its position among the columns ``p(CLASS)``."""
    header, *rows = [line.split("\t") for line in read_lines(path)] or [[]]
    if header[1:3] != ["prediction", "target"]:
        raise UserError(f"{path} has no targets; evaluate on labelled examples")
    labels = [name[2:-1] for name in header[3:]]
    values = np.empty((2, len(rows)), np.int64 if labels else np.float64)
    for number, row in enumerate(rows):
        try:
            values[:, number] = [labels.index(name) if labels else float(name) for name in (row[1], row[2])]
            finite = bool(np.isfinite(values[:, number]).all())
        except (ValueError, IndexError):
            finite = False
        if not finite:
            raise UserError(
                f"{path}, line {number + 2}: {row[1:3]} are no {labels or 'scores'}; evaluate again"
            )
    return values[0], values[1]


def by_system(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return system -> its runs, in the order in which systems come first."""
    systems: dict[str, list[Run]] = {}
    for run in runs:
        systems.setdefault(run.system, []).append(run)
    return systems


def compare(system: Sequence[Run], baseline: Sequence[Run], metric: str, seed: int = 1) -> Difference:
    """Compare the means of two systems over their seeds, by :func:`difference_of_means`.

    Args:
        system: two or more runs.
        baseline: likewise.
        metric: name in :data:`cmlm_kd.evaluation.glue.METRICS`.
        seed: of the bootstrap over examples.
    """
    resampled = _resampled([*system, *baseline], metric, seed)  # (R + R', S)
    return difference_of_means(
        [run.metrics[metric] for run in system],
        [run.metrics[metric] for run in baseline],
        resampled[: len(system)],
        resampled[len(system) :],
        len(system[0].target),
    )


def _resampled(runs: Sequence[Run], metric: str, seed: int) -> NDArray[np.float64]:
    """Return the scores of runs on resampled examples, the same for all of them, ``(R, S)``."""
    generator = np.random.default_rng(seed)
    measured, count = METRICS[metric], len(runs[0].target)
    scores = np.empty((len(runs), RESAMPLES))
    for position in range(RESAMPLES):
        rows = generator.integers(0, count, count)  # (N,)
        target = runs[0].target[rows]
        scores[:, position] = [100 * measured(run.predicted[rows], target) for run in runs]
    return scores


def comparison_table(runs: Sequence[Run]) -> str:
    """Return one line a system: means and standard deviations over its runs, parameters, median speed."""
    metrics, batches = list(runs[0].metrics), list(runs[0].speed)
    rows = [["model", "runs", *metrics, "parameters", *(f"examples/s, batch {batch}" for batch in batches)]]
    for name, own in by_system(runs).items():
        measured = [_cell([run.metrics[metric] for run in own]) for metric in metrics]
        speeds = [f"{statistics.median(run.speed[batch] for run in own):,.1f}" for batch in batches]
        parameters = max(run.parameters for run in own)
        rows.append([name, str(len(own)), *measured, f"{parameters:,}", *speeds])
    return table(rows)


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def differences(runs: Sequence[Run], baseline: str, metric: str) -> dict[str, Difference | None]:
    """Return system -> its difference from the baseline, for systems with several runs.

    Raises:
        UserError: if there is no such baseline, or no such metric.
    """
    systems = by_system(runs)
    if baseline not in systems:
        raise UserError(f"--baseline {baseline}: the systems are {', '.join(systems)}; name one of them")
    if metric not in runs[0].metrics:
        raise UserError(f"--metric {metric} was not measured; choose one of {', '.join(runs[0].metrics)}")
    others = [name for name, own in systems.items() if name != baseline and (SEPARATOR in own[0].name)]
    testable = {name: min(len(systems[name]), len(systems[baseline])) > 1 for name in others}
    return {
        name: compare(systems[name], systems[baseline], metric) if testable[name] else None for name in others
    }
