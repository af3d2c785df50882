"""The threshold of a FastBERT by what it is to reach: an accuracy, or a speed-up.

On held-out examples, whose uncertainty after every layer is known, accuracy and exits change only at finitely
many thresholds. All of them are looked at, by sorting alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import POSITIVE, SHARE, check_range


@dataclass(frozen=True)
class ExitCurve:
    """Accuracy against speed-up, a point for every set of exits that some threshold gives.

    Attributes:
        thresholds: ``(K,)``, rising; between two values where anything changes, at their middle, so that
            rounding moves no example. The first is 0, where all layers run and no branch does.
        accuracy: ``(K,)``, in [0, 1].
        speedup: ``(K,)``, operations of the plain encoder over the mean operations.
        histogram: ``(K, L)`` int64, examples that leave after each layer.
    """

    thresholds: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    speedup: NDArray[np.float64]
    histogram: NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """A chosen threshold.

    Attributes:
        point: where on the curve.
        threshold: in [0, 1].
        accuracy: of the held-out examples, in [0, 1].
        speedup: see :class:`ExitCurve`.
        curve: all that could be chosen.
    """

    point: int
    threshold: float
    accuracy: float
    speedup: float
    curve: ExitCurve


def exit_curve(
    uncertainty: NDArray[np.floating[Any]],
    predictions: NDArray[np.integer[Any]],
    target: NDArray[np.integer[Any]],
    flops: FlopCount,
) -> ExitCurve:
    """Return accuracy and speed-up at every threshold where they change.

    Args:
        uncertainty: ``(N, L)`` after every layer, in [0, 1].
        predictions: ``(N, L)`` classes.
        target: ``(N,)`` classes.
        flops: what layers and classifiers cost.

    Raises:
        UserError: if the arrays are empty or do not belong together, or an uncertainty is outside [0, 1].
    """
    _check(uncertainty, predictions, target, flops)
    correct = predictions == target[:, None]  # (N, L)
    thresholds, rows, layers = _moves(uncertainty)  # (M,) each
    former = _former_exits(rows, layers, flops.layers)  # (M,)
    last = np.append(thresholds[1:] != thresholds[:-1], True) if len(thresholds) else np.empty(0, bool)
    right = correct[:, -1].sum() + np.cumsum(
        correct[rows, layers].astype(np.int64) - correct[rows, former].astype(np.int64)
    )  # (M,)
    exits = np.stack(
        [np.cumsum((layers == layer).astype(np.int64) - (former == layer)) for layer in range(flops.layers)],
        axis=1,
    )  # (M, L)
    exits[:, -1] += len(target)
    plain = np.zeros((1, flops.layers), np.int64)  # (1, L)
    plain[0, -1] = len(target)
    histogram = np.concatenate((plain, exits[last]))  # (K, L)
    cost = histogram @ flops.exits.astype(np.float64) / len(target)  # (K,)
    cost[0] = flops.plain
    where = thresholds[last]  # (K - 1,)
    middles = (where + np.append(where[1:], 1.0)) / 2 if len(where) else where  # (K - 1,)
    return ExitCurve(
        np.concatenate(([0.0], middles)),
        np.concatenate(([correct[:, -1].sum()], right[last])) / len(target),
        flops.plain / cost,
        histogram,
    )


def calibrate_accuracy(curve: ExitCurve, target: float) -> Calibration:
    """Choose the fastest threshold that reaches an accuracy.

    Args:
        curve: of held-out examples.
        target: accuracy in [0, 1].

    Raises:
        UserError: if the target is outside [0, 1], or no threshold reaches it.
    """
    check_range("--target-accuracy", target, SHARE, hint="it is a share of examples")
    reached = curve.accuracy >= target  # (K,)
    if not reached.any():
        best = int(curve.accuracy.argmax())
        raise UserError(
            f"--target-accuracy {target:g} is not reached at any threshold; the best is "
            f"{curve.accuracy[best]:.4f}, at a speed-up of {curve.speedup[best]:.2f}"
        )
    return _chosen(curve, np.where(reached, curve.speedup, -np.inf))


def calibrate_speedup(curve: ExitCurve, target: float) -> Calibration:
    """Choose the most accurate threshold that reaches a speed-up; the fastest among equals.

    Args:
        curve: of held-out examples.
        target: how many times fewer operations than the plain encoder, above 0.

    Raises:
        UserError: if the target is not above 0, or no threshold reaches it.
    """
    check_range("--target-speedup", target, POSITIVE)
    reached = curve.speedup >= target  # (K,)
    if not reached.any():
        raise UserError(
            f"--target-speedup {target:g} is not reached at any threshold; the largest is "
            f"{curve.speedup.max():.2f}: train an encoder with more layers, or ask for less"
        )
    best = curve.accuracy[reached].max()
    return _chosen(curve, np.where(reached & (curve.accuracy == best), curve.speedup, -np.inf))


def _chosen(curve: ExitCurve, score: NDArray[np.float64]) -> Calibration:
    point = int(score.argmax())
    return Calibration(
        point,
        float(curve.thresholds[point]),
        float(curve.accuracy[point]),
        float(curve.speedup[point]),
        curve,
    )


def _moves(
    uncertainty: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Return the thresholds from which an example leaves after an earlier layer, rising, with the example and
    the layer (from 0).

    An example leaves after layer l as soon as the threshold reaches its uncertainty there, if no earlier
    layer's is as low. The last layer needs no threshold.
    """
    branches = uncertainty[:, :-1].astype(np.float64)  # (N, L - 1)
    least = np.minimum.accumulate(branches, 1)  # (N, L - 1)
    lower = np.ones_like(branches, bool)  # (N, L - 1)
    lower[:, 1:] = branches[:, 1:] < least[:, :-1]
    rows, layers = np.nonzero(lower)  # (M,)
    thresholds = branches[rows, layers]  # (M,)
    # An example's own moves go from its last layer to its first, as its thresholds rise.
    order = np.argsort(thresholds, kind="stable")  # (M,)
    return thresholds[order], rows[order], layers[order]


def _former_exits(rows: NDArray[np.intp], layers: NDArray[np.intp], depth: int) -> NDArray[np.intp]:
    """Return the layer after which the example of each move had left before, ``(M,)``."""
    by_row = np.argsort(rows, kind="stable")  # (M,) moves of an example beside each other, in their order
    former = np.full(len(rows), depth - 1)  # (M,)
    same = rows[by_row][1:] == rows[by_row][:-1]  # (M - 1,)
    former[by_row[1:][same]] = layers[by_row[:-1][same]]
    return former


def _check(
    uncertainty: NDArray[np.floating[Any]],
    predictions: NDArray[np.integer[Any]],
    target: NDArray[np.integer[Any]],
    flops: FlopCount,
) -> None:
    shape = (len(target), flops.layers)
    if not len(target) or uncertainty.shape != shape or predictions.shape != shape:
        raise UserError(
            f"a threshold is calibrated on one or more examples of {flops.layers} layers each; got "
            f"uncertainties of shape {uncertainty.shape}, predictions of shape {predictions.shape} and "
            f"{len(target)} labels"
        )
    if not ((uncertainty >= 0) & (uncertainty <= 1)).all():  # NaN too
        raise UserError(
            "uncertainties must be in [0, 1]; normalise entropies by the logarithm of the classes"
        )
