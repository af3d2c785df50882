"""How often three tests find a difference between equal systems, and ours one of the size that it promises.

    python benchmarks/significance.py [--runs 2 3 5] [--clusters 160] [--trials 1500] [--resamples 300]

Scores are means over clusters of what a seed, a cluster and both together add, each normal; whatever the
scales are, a test at level 0.05 should find 5 % of nothing. The tests:

t           of cmlm-kd: variance of runs and of clusters, Student's t (cmlm_kd/evaluation/differences.py)
joint       a bootstrap that draws runs and clusters, interval between the 2.5 % and 97.5 % quantiles
clusters    a bootstrap that draws clusters alone, as the usual paired bootstrap draws sentences
power       how often t finds a true difference as large as the smallest that it calls detectable (80 %)
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.evaluation.differences import difference_of_means

SCALES = {
    "seeds": (2.0, 0.2, 0.2),
    "all": (1.0, 1.0, 1.0),
    "clusters": (0.2, 1.0, 0.2),
    "both": (0.2, 0.2, 1.0),
}
"""What varies most -> scale of a seed's part (1: as a mean over clusters), of a cluster's, of both's."""

Scores = NDArray[np.float64]


def simulated(
    generator: np.random.Generator, scales: tuple[float, float, float], runs: int, clusters: int
) -> Scores:
    """Return scores of a system's runs by cluster, ``(R, K)``."""
    of_seed, of_cluster, of_both = scales
    return (
        of_seed * generator.normal(size=(runs, 1)) / np.sqrt(clusters)
        + of_cluster * generator.normal(size=clusters)
        + of_both * generator.normal(size=(runs, clusters))
    )


def outside(differences: Scores) -> bool:
    """Tell whether 0 lies outside the middle 95 %."""
    low, high = np.quantile(differences, [0.025, 0.975])
    return not low <= 0 <= high


def drawn_runs(generator: np.random.Generator, resampled: Scores) -> Scores:
    """Return means of runs drawn anew for each resample; ``resampled`` is ``(R, S)``."""
    runs, resamples = resampled.shape
    drawn = generator.integers(0, runs, (runs, resamples))
    means: Scores = np.take_along_axis(resampled, drawn, 0).mean(0)
    return means


def rates(
    scales: tuple[float, float, float], runs: int, clusters: int, trials: int, resamples: int
) -> dict[str, float]:
    """Return the share of trials in which each test finds something."""
    generator = np.random.default_rng(3)
    draws = generator.multinomial(clusters, np.full(clusters, 1 / clusters), resamples) / clusters  # (S, K)
    found = {"t": 0, "joint": 0, "clusters": 0, "power": 0}
    detectable = 0.0
    for trial in range(trials):
        sides = [simulated(generator, scales, runs, clusters) for _ in range(2)]
        means = [side.mean(1) for side in sides]
        first, second = (side @ draws.T for side in sides)  # (R, S)
        difference = difference_of_means(means[0], means[1], first, second, clusters)
        if trial < 100:
            # One trial's estimate varies as its error does; the promise is about their size on average.
            detectable += difference.detectable / min(100, trials)
        else:
            raised = difference_of_means(
                means[0] + detectable, means[1], first + detectable, second, clusters
            )
            found["power"] += raised.is_significant
        found["t"] += difference.is_significant
        found["joint"] += outside(drawn_runs(generator, first) - drawn_runs(generator, second))
        found["clusters"] += outside(first.mean(0) - second.mean(0))
    raised_trials = max(1, trials - 100)
    return {name: count / (raised_trials if name == "power" else trials) for name, count in found.items()}


def main() -> None:
    """Print a line for each number of runs and what varies most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--clusters", type=int, default=160)
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--resamples", type=int, default=300)
    arguments = parser.parse_args()
    average = []
    for runs in arguments.runs:
        for name, scales in SCALES.items():
            found = rates(scales, runs, arguments.clusters, arguments.trials, arguments.resamples)
            average.append(found["t"])
            shares = "  ".join(f"{test} {100 * share:4.1f} %" for test, share in found.items())
            print(f"{runs} runs, most varies by {name:8}  {shares}", flush=True)
    print(f"t finds {100 * statistics.fmean(average):.1f} % of nothing on average (level 5 %)")


if __name__ == "__main__":
    main()
