"""GLUE's metrics: accuracy, F1, Matthews correlation, Pearson and Spearman correlation, each times 100.

F1 is that of the class at position 1, unless told otherwise, as GLUE scores MRPC and QQP. A correlation with
something constant, which is 0/0, counts as 0: nothing is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

Numbers = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


def accuracy(predicted: Numbers, target: Numbers) -> float:
    """Return the share of classes that are right: ``(N,)``, ``(N,)`` -> [0, 1]."""
    return float(np.mean(predicted == target))


def f1(predicted: Numbers, target: Numbers, positive: int = 1) -> float:
    """Return the harmonic mean of precision and recall of the class ``positive``, in [0, 1]; 0 without
    any."""
    right = np.sum((predicted == positive) & (target == positive))
    claimed_or_there = np.sum(predicted == positive) + np.sum(target == positive)
    return float(2 * right / claimed_or_there) if claimed_or_there else 0.0


def matthews(predicted: Numbers, target: Numbers) -> float:
    """Return the Matthews correlation of classes, in [-1, 1]; Gorodkin's for more than two (2004, eq. 8)."""
    classes = int(max(predicted.max(), target.max())) + 1
    confusion = np.zeros((classes, classes))  # (C, C), target by prediction
    np.add.at(confusion, (target.astype(np.int64), predicted.astype(np.int64)), 1)
    there, claimed = confusion.sum(1), confusion.sum(0)  # (C,)
    total = confusion.sum()
    covariance = total * np.trace(confusion) - there @ claimed
    spread = np.sqrt(total**2 - there @ there) * np.sqrt(total**2 - claimed @ claimed)
    return float(covariance / spread) if spread else 0.0


def pearson(predicted: Numbers, target: Numbers) -> float:
    """Return the linear correlation of scores, in [-1, 1]."""
    first, second = (
        values.astype(np.float64) - np.mean(values, dtype=np.float64) for values in (predicted, target)
    )
    spread = np.sqrt(first @ first) * np.sqrt(second @ second)
    return float(first @ second / spread) if spread else 0.0


def spearman(predicted: Numbers, target: Numbers) -> float:
    """Return the correlation of ranks, in [-1, 1]; equal scores share the mean of their ranks."""
    return pearson(_ranks(predicted), _ranks(target))


def _ranks(values: Numbers) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # (distinct values,)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]  # (N,)


Metric = Callable[[Any, Any], float]

METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def usual_metrics(classes: int) -> tuple[str, ...]:
    """Return what is measured for so many classes; 0 stands for scores."""
    if not classes:
        return "pearson", "spearman"
    return ("accuracy", "f1", "matthews") if classes == 2 else ("accuracy", "matthews")


def measure(
    logits: NDArray[np.floating[Any]], target: Numbers, metrics: Sequence[str], positive: int = 1
) -> dict[str, float]:
    """Return metric -> value times 100.

    Args:
        logits: ``(N, C)``, or ``(N, 1)`` for scores.
        target: ``(N,)`` classes (integers) or scores.
        metrics: names among :data:`METRICS`.
        positive: the class whose F1 is measured.

    Raises:
        UserError: if a logit is not finite, naming the example.
    """
    broken = np.flatnonzero(~np.isfinite(logits).all(-1))
    if len(broken):
        raise UserError(
            f"the model gives {logits[broken[0]].tolist()} for example {broken[0]} (counted from 0); "
            "training has diverged: pass a smaller --lr, or a --clip-norm"
        )
    predicted = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)  # (N,)
    functions: Mapping[str, Metric] = {**METRICS, "f1": partial(f1, positive=positive)}
    return {name: 100 * functions[name](predicted, target) for name in metrics}
