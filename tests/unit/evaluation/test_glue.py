"""GLUE's metrics against the libraries that GLUE's own scripts call."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.glue import accuracy, f1, matthews, measure, pearson, spearman, usual_metrics

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes(classes):
    predicted, target = RANDOM.integers(0, classes, 60), RANDOM.integers(0, classes, 60)
    predicted[:30] = target[:30]
    assert accuracy(predicted, target) == metrics.accuracy_score(target, predicted)
    assert matthews(predicted, target) == pytest.approx(metrics.matthews_corrcoef(target, predicted))
    if classes == 2:
        assert f1(predicted, target) == pytest.approx(metrics.f1_score(target, predicted))


def test_scores_with_ties():
    target = RANDOM.integers(0, 6, 50) / 2.0
    predicted = np.round(target + RANDOM.normal(size=50), 1)
    assert pearson(predicted, target) == pytest.approx(stats.pearsonr(predicted, target).statistic)
    assert spearman(predicted, target) == pytest.approx(stats.spearmanr(predicted, target).statistic)


def test_what_predicts_nothing_counts_as_nothing():
    ones, target = np.ones(4, int), np.array([0, 1, 1, 0])
    assert matthews(ones, target) == 0.0
    assert f1(np.zeros(4, int), target) == 0.0 and f1(np.zeros(4, int), np.zeros(4, int)) == 0.0
    assert pearson(np.ones(4), target.astype(float)) == spearman(np.ones(4), target.astype(float)) == 0.0


def test_large_offsets_keep_their_correlation():
    target = RANDOM.normal(size=40)
    assert pearson(np.float32(target + 1000), target) == pytest.approx(1.0, abs=1e-3)


def test_measure_takes_logits():
    logits = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]], np.float32)
    found = measure(logits, np.array([0, 1, 1, 1]), usual_metrics(2))
    assert found == {
        "accuracy": 75.0,
        "f1": pytest.approx(80.0),
        "matthews": pytest.approx(100 * metrics.matthews_corrcoef([0, 1, 1, 1], [0, 1, 0, 1])),
    }
    scores = measure(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]), usual_metrics(0))
    assert scores["spearman"] == pytest.approx(100.0) and 95 < scores["pearson"] < 100
    assert usual_metrics(3) == ("accuracy", "matthews")


def test_logits_that_are_no_numbers_are_named():
    with pytest.raises(UserError, match=r"\[nan, 1.0\] for example 1 .*smaller --lr"):
        measure(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.array([0, 1]), ["accuracy"])
