"""The whole curve of thresholds against a loop over examples, and the choice on it."""

import numpy as np
import pytest

from cmlm_kd.early_exit.calibration import calibrate_accuracy, calibrate_speedup, exit_curve
from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.errors import UserError

FLOPS = FlopCount(layers=4, hidden_size=16, intermediate_size=64, branch_size=4, embedding_size=16, length=8)


def random_records(count=40, seed=0, steps=None):
    """Predictions that get better, and more certain, with depth; with ``steps``, many equal uncertainties."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 3, count)
    wrong = generator.random((count, 4)) < np.array([0.5, 0.3, 0.2, 0.1])
    predictions = np.where(wrong, (target[:, None] + 1) % 3, target[:, None])
    uncertainty = generator.random((count, 4)) * np.array([1.0, 0.8, 0.6, 0.4])
    if steps:
        uncertainty = np.round(uncertainty * steps) / steps
    return uncertainty.astype(np.float32), predictions, target


def by_loop(uncertainty, predictions, target, threshold):
    histogram, right, cost = [0] * 4, 0, 0
    for row, doubts in enumerate(uncertainty.tolist()):
        left = 3
        for layer, doubt in enumerate(doubts):
            if doubt <= threshold:
                left = layer
                break
        histogram[left] += 1
        right += predictions[row, left] == target[row]
        cost += (left + 1) * (FLOPS.layer + FLOPS.classifier)
    return right / len(target), FLOPS.plain * len(target) / cost, histogram


@pytest.mark.parametrize(("seed", "steps"), [(0, None), (1, 5), (2, 2)])
def test_every_point_against_a_loop(seed, steps):
    records = random_records(seed=seed, steps=steps)
    curve = exit_curve(*records, FLOPS)
    assert len(curve.thresholds) > (3 if steps else 40)
    assert (np.diff(curve.thresholds) > 0).all() and curve.thresholds[-1] <= 1.0
    for point in range(1, len(curve.thresholds)):
        accuracy, speedup, histogram = by_loop(*records, curve.thresholds[point])
        assert curve.accuracy[point] == pytest.approx(accuracy)
        assert curve.speedup[point] == pytest.approx(speedup)
        assert curve.histogram[point].tolist() == histogram


def test_no_set_of_exits_is_left_out():
    records = random_records(count=12)
    curve = exit_curve(*records, FLOPS)
    found = {tuple(row) for row in curve.histogram.tolist()}
    for threshold in np.linspace(0.0, 1.0, 2001):
        assert tuple(by_loop(*records, threshold)[2]) in found


def test_threshold_0_runs_no_branch():
    records = random_records()
    curve = exit_curve(*records, FLOPS)
    assert curve.thresholds[0] == 0.0 and curve.speedup[0] == 1.0
    assert curve.histogram[0].tolist() == [0, 0, 0, 40]
    assert curve.accuracy[0] == pytest.approx((records[1][:, -1] == records[2]).mean())


def test_certain_branches_still_run_no_branch_at_0():
    uncertainty = np.zeros((5, 4))
    curve = exit_curve(uncertainty, np.zeros((5, 4), int), np.zeros(5, int), FLOPS)
    assert curve.histogram.tolist() == [[0, 0, 0, 5], [5, 0, 0, 0]]
    assert curve.thresholds[1] > 0.0


def test_the_fastest_that_is_accurate_enough():
    curve = exit_curve(*random_records(), FLOPS)
    chosen = calibrate_accuracy(curve, 0.8)
    enough = curve.accuracy >= 0.8
    assert chosen.accuracy >= 0.8 and chosen.speedup == curve.speedup[enough].max()
    assert chosen.threshold == curve.thresholds[chosen.point] and chosen.curve is curve
    assert 1.0 < chosen.speedup < curve.speedup.max()  # or the choice would show nothing


def test_the_most_accurate_that_is_fast_enough():
    curve = exit_curve(*random_records(), FLOPS)
    chosen = calibrate_speedup(curve, 1.5)
    enough = curve.speedup >= 1.5
    assert chosen.speedup >= 1.5 and chosen.accuracy == curve.accuracy[enough].max()
    equals = enough & (curve.accuracy == chosen.accuracy)
    assert chosen.speedup == curve.speedup[equals].max()


def test_targets_at_their_limits():
    curve = exit_curve(*random_records(), FLOPS)
    assert calibrate_accuracy(curve, 0.0).speedup == curve.speedup.max()
    assert calibrate_speedup(curve, 1e-9).accuracy == curve.accuracy.max()


@pytest.mark.parametrize(
    ("choose", "target", "message"),
    [
        (calibrate_accuracy, 0.999, "not reached at any threshold; the best is"),
        (calibrate_accuracy, 93.5, r"must be in \[0, 1\]"),
        (calibrate_accuracy, float("nan"), r"must be in \[0, 1\]"),
        (calibrate_speedup, 4.5, "not reached at any threshold; the largest is"),
        (calibrate_speedup, 0.0, "above 0"),
        (calibrate_speedup, float("inf"), "above 0"),
    ],
)
def test_targets_out_of_reach(choose, target, message):
    with pytest.raises(UserError, match=message):
        choose(exit_curve(*random_records(), FLOPS), target)


def test_records_that_do_not_belong_together():
    uncertainty, predictions, target = random_records()
    for broken in (
        (uncertainty[:, :3], predictions, target),
        (uncertainty, predictions[:3], target),
        (uncertainty[:0], predictions[:0], target[:0]),
    ):
        with pytest.raises(UserError, match="4 layers each"):
            exit_curve(*broken, FLOPS)
    with pytest.raises(UserError, match="normalise"):
        exit_curve(uncertainty * 2, predictions, target, FLOPS)
