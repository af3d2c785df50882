"""Scores of systems of which each was trained with several seeds, and tests over seeds and clusters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.base import Metric

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.differences import Difference, difference_of_means, runs_by_system
from cmlm_kd.evaluation.scores import Evaluation, RunsTest, Score

FEWEST_CLUSTERS = 2
FEWEST_RESAMPLES = 2


def evaluate_runs(
    runs: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[Any]],
    metrics: Mapping[str, Metric],
    baseline: str | None,
    clusters: Sequence[str] | None,
    resamples: int,
    seed: int,
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Score every run; with a baseline, test the mean of each other system against the baseline's.

    Text is cut and counted once a run: a resample adds up statistics of sentences, by sacreBLEU's own
    extraction, and is scored from the sums.

    Args:
        runs: ``SYSTEM@SEED`` or ``SYSTEM`` -> its lines.
        references: lines by reference, None where one is missing.
        metrics: shown name -> metric.
        baseline: a system.
        clusters: label of each line; lines with one label are drawn together. None: each line by itself.
        resamples: of the bootstrap over clusters.
        seed: of the bootstrap.
        notes: go into the result as they are.

    Raises:
        UserError: if the clusters do not fit the lines, or a test has fewer than two resamples.
    """
    if baseline is not None and resamples < FEWEST_RESAMPLES:
        raise UserError(
            f"--paired-bs-n is {resamples}: a test of several runs, or of clusters, needs the variance of "
            f"{FEWEST_RESAMPLES} resamples or more; 1000 is usual"
        )
    sentences = len(references[0])
    positions = _cluster_positions(clusters, sentences)
    systems = _baseline_first(runs_by_system(runs), baseline)
    counts = _draws(int(positions.max()) + 1, resamples, seed) if baseline is not None else None
    scores: dict[str, dict[str, Score]] = {system: {} for system in systems}
    signatures = {}
    for label, metric in metrics.items():
        values, resampled = {}, {}
        for run, lines in runs.items():
            sums = _cluster_sums(metric, lines, references, positions)
            values[run] = _score(metric, sums.sum(0))
            if counts is not None:
                resampled[run] = np.array([_score(metric, row @ sums) for row in counts])  # (S,)
        signatures[label] = str(metric.get_signature())
        for system, own in systems.items():
            difference = None
            if baseline is not None and system != baseline:
                difference = _difference(own, systems[baseline], values, resampled, len(counts.T))  # type: ignore[union-attr]
            of_runs = {run: values[run] for run in own}
            p_value = difference.p_value if difference is not None else None
            scores[system][label] = Score(
                statistics.fmean(of_runs.values()), p_value, runs=of_runs, difference=difference
            )
    test = None
    if baseline is not None:
        test = RunsTest(int(positions.max()) + 1, clusters is not None, resamples, seed)
    return Evaluation(scores, signatures, baseline, sentences, notes, test)


def _cluster_positions(clusters: Sequence[str] | None, sentences: int) -> NDArray[np.int64]:
    """Return the number of each line's cluster, ``(N,)``."""
    if clusters is None:
        return np.arange(sentences)
    if len(clusters) != sentences:
        raise UserError(
            f"--clusters has {len(clusters)} lines, reference 1 has {sentences}; give one label for each line"
        )
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    if len(numbers) < FEWEST_CLUSTERS:
        raise UserError(
            f"--clusters: all lines are in one cluster, {next(iter(numbers))!r}; a test needs two or more"
        )
    return np.array([numbers[label] for label in clusters])


def _baseline_first(systems: dict[str, list[str]], baseline: str | None) -> dict[str, list[str]]:
    return {name: systems[name] for name in sorted(systems, key=lambda name: name != baseline)}


def _draws(clusters: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Return how often each resample draws each cluster, ``(S, K)``."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((resamples, clusters), np.uint16)  # small: S * K numbers, and K may be large
    for row in drawn:
        row[:] = np.bincount(generator.integers(0, clusters, clusters), minlength=clusters)
    return drawn


def _cluster_sums(
    metric: Metric, lines: Sequence[str], references: Sequence[Sequence[Any]], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a run's sufficient statistics, summed over each cluster: ``(K, number of statistics)``."""
    of_lines = np.asarray(metric._extract_corpus_statistics(lines, references), dtype=np.float64)  # (N, ...)
    sums = np.zeros((int(positions.max()) + 1, of_lines.shape[1]))
    np.add.at(sums, positions, of_lines)
    return sums


def _score(metric: Metric, sums: NDArray[np.float64]) -> float:
    return float(metric._compute_score_from_stats(sums.tolist()).score)


def _difference(
    own: Sequence[str],
    baseline: Sequence[str],
    values: Mapping[str, float],
    resampled: Mapping[str, NDArray[np.float64]],
    clusters: int,
) -> Difference | None:
    """Return the difference of two systems; None where one has several runs and the other a single one."""
    if clusters < FEWEST_CLUSTERS or (len(own) == 1) != (len(baseline) == 1):
        return None
    return difference_of_means(
        [values[run] for run in own],
        [values[run] for run in baseline],
        np.stack([resampled[run] for run in own]),
        np.stack([resampled[run] for run in baseline]),
        clusters,
    )
