"""By how much two systems differ, and how sure that is: trainings and test examples vary by chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE_LEVEL = 0.05
POWER = 0.8  # share of the trials in which a difference as large as the smallest detectable one is found

SEPARATOR = "@"
"""Between the name of a system and the seed of a run: ``distilled@1``."""


def system_of(run: str) -> str:
    """Return what is trained with several seeds: ``distilled`` of ``distilled@1``."""
    return run.partition(SEPARATOR)[0]


def runs_by_system(runs: Iterable[str]) -> dict[str, list[str]]:
    """Return system -> its runs, in the order in which systems come first."""
    systems: dict[str, list[str]] = {}
    for run in runs:
        systems.setdefault(system_of(run), []).append(run)
    return systems


@dataclass(frozen=True)
class Difference:
    """How a system's mean over its runs differs from the baseline's.

    Attributes:
        value: system minus baseline, in the metric's points.
        seeds_error: standard error that comes from the seeds; 0 where each system has one run, of which
            nothing can be said.
        examples_error: standard error that comes from the examples, or from clusters of them.
        freedom: degrees of freedom of Student's t distribution, at least 1.
        p_value: of a difference this large by chance, two-sided.
        of_seeds: whether there are several runs, so that the seeds' part is known.
    """

    value: float
    seeds_error: float
    examples_error: float
    freedom: float
    p_value: float
    of_seeds: bool = True

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return math.hypot(self.seeds_error, self.examples_error)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the difference."""
        half = student_quantile(SIGNIFICANCE_LEVEL, self.freedom) * self.error if self.error else 0.0
        return self.value - half, self.value + half

    @property
    def detectable(self) -> float:
        """The smallest true difference that such runs and examples show in four trials of five.

        It is ``(t(1 - 0.05/2) + t(0.8)) * error / c``, where c is what a standard error of so many degrees
        of freedom is on average, as a share of the true one.

        Source: Bloom, "Minimum Detectable Effects" (Evaluation Review 19, 1995).
        """
        if not self.error:
            return 0.0
        found = student_quantile(SIGNIFICANCE_LEVEL, self.freedom)
        missed = student_quantile(2 * (1 - POWER), self.freedom)
        half = self.freedom / 2
        shrunk = math.exp(math.lgamma(half + 0.5) - math.lgamma(half)) / math.sqrt(half)
        return (found + missed) * self.error / shrunk

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant at 0.05."""
        return self.p_value < SIGNIFICANCE_LEVEL

    def to_document(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return {
            **vars(self),
            "error": self.error,
            "interval": list(self.interval),
            "detectable": self.detectable,
        }


def difference_of_means(
    system: Sequence[float],
    baseline: Sequence[float],
    resampled_system: NDArray[np.float64],
    resampled_baseline: NDArray[np.float64],
    examples: int,
) -> Difference:
    """Compare the means of two systems over their runs.

    Two things vary by chance: training, with its seed, and which examples the test set has. The first is
    taken from the spread over the runs (as in Welch's test), the second from a bootstrap over the examples,
    paired because all runs saw the same. What a resample does to a single run and not to its system is in
    the spread over the runs already, and is taken off. The variances add up, and so do Welch's and
    Satterthwaite's degrees of freedom, of Student's t distribution.

    Args:
        system: score of each run, one or more.
        baseline: likewise; one run if ``system`` has one, otherwise two or more.
        resampled_system: ``(R, S)`` scores of the runs on S resamples of the examples.
        resampled_baseline: ``(R', S)``, likewise, on the same resamples.
        examples: how many were resampled, or clusters of them; at least 2.

    Sources: Clark et al., "Better Hypothesis Testing for Statistical Machine Translation: Controlling for
    Optimizer Instability" (ACL 2011); Koehn, "Statistical Significance Tests for Machine Translation
    Evaluation" (EMNLP 2004); Welch (Biometrika 34, 1947); Satterthwaite (Biometrics Bulletin 2, 1946).
    """
    sides = ((np.asarray(system), resampled_system), (np.asarray(baseline), resampled_baseline))
    value = float(sides[0][0].mean() - sides[1][0].mean())
    resampled = resampled_system.mean(0) - resampled_baseline.mean(0)  # (S,)
    of_examples = _variance(resampled)
    of_seeds = []
    for scores, own in sides:
        runs = len(scores)
        if runs > 1:
            of_seeds.append((_variance(scores) / runs, runs - 1))
            apart = (own - own.mean(0)).var(1, ddof=1).sum() / (runs - 1)  # of a run on its own
            of_examples -= float(apart) / runs
    of_examples = max(0.0, of_examples) * examples / (examples - 1)
    parts = [*of_seeds, (of_examples, examples - 1)]
    total = sum(variance for variance, _ in parts)
    # What rounding leaves of equal scores is no variance.
    if total <= (1e-9 * max(1.0, abs(float(sides[1][0].mean())))) ** 2:
        same = math.isclose(value, 0, abs_tol=1e-9)
        # Nothing varies, be there two examples or a thousand: then what a sign test says of as many.
        p_value = 1.0 if same else 2.0 ** (1 - examples)
        return Difference(value, 0.0, 0.0, 1.0, p_value, bool(of_seeds))
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    seeds_error = math.sqrt(sum(variance for variance, _ in of_seeds))
    p_value = two_sided_p(value / math.sqrt(total), freedom)
    return Difference(value, seeds_error, math.sqrt(of_examples), freedom, p_value, bool(of_seeds))


def verdict(
    name: str, baseline: str, metric: str, difference: Difference | None, examples: str = "examples"
) -> str:
    """Return a sentence about a difference; None stands for too few runs to test it.

    Args:
        name: of the system.
        baseline: what it was compared with.
        metric: what was compared.
        difference: what came out.
        examples: what was resampled, in a word.
    """
    if difference is None:
        return f"{name}: not tested against {baseline}, which takes two runs of each or more"
    low, high = difference.interval
    errors = f"{examples} {difference.examples_error:.2f}"
    errors = f"seeds {difference.seeds_error:.2f}, {errors}" if difference.of_seeds else f"{errors} alone"
    return (
        f"{name}: {difference.value:+.2f} {metric} against {baseline}, 95 % interval {low:+.2f} to "
        f"{high:+.2f}, standard error {difference.error:.2f} ({errors}); "
        f"{'significant' if difference.is_significant else 'not significant'} (p = {difference.p_value:.4f}, "
        f"level {SIGNIFICANCE_LEVEL}); the smallest difference that is found in four trials of five: "
        f"{difference.detectable:.2f}"
    )


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1))


def two_sided_p(statistic: float, freedom: float) -> float:
    """Return how probable a value at least as far from 0 is under Student's t distribution.

    With ``t = sqrt(freedom) tan(angle)`` the density becomes ``cos(angle)^(freedom - 1)``, which is smooth
    and bounded, so that Simpson's rule does.

    Args:
        statistic: any number.
        freedom: degrees of freedom, at least 1.
    """
    angle = math.atan(abs(statistic) / math.sqrt(freedom))

    def area(start: float) -> float:
        angles: NDArray[np.float64] = np.linspace(start, math.pi / 2, 20001)
        heights = np.cos(angles).clip(0) ** (freedom - 1)
        weights = np.ones_like(angles)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return float(weights @ heights) * float(angles[1] - angles[0]) / 3

    return min(1.0, area(angle) / area(0.0))


def student_quantile(probability: float, freedom: float) -> float:
    """Return the statistic whose :func:`two_sided_p` is ``probability``.

    Args:
        probability: above 0 and at most 1.
        freedom: degrees of freedom, at least 1 and finite.

    Raises:
        ValueError: one is out of its range, where there is no such statistic to be found.
    """
    # A sum of rounded shares may be a little below 1.
    if not (0 < probability <= 1 and 0.99 < freedom < math.inf):
        raise ValueError(f"student_quantile: probability {probability}, freedom {freedom}")
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > probability:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > probability else (low, middle)
    return (low + high) / 2
