"""The test of a difference: values by hand and by SciPy, and how often it finds what is not there."""

import numpy as np
import pytest
from scipy import stats

from cmlm_kd.evaluation.differences import (
    Difference,
    difference_of_means,
    runs_by_system,
    student_quantile,
    two_sided_p,
    verdict,
)


@pytest.mark.parametrize("freedom", [1.0, 1.3, 2.0, 4.7, 60.0, 5000.0])
@pytest.mark.parametrize("statistic", [0.0, 0.4, -2.1, 9.0])
def test_students_distribution(statistic, freedom):
    expected = 2 * stats.t.sf(abs(statistic), freedom)
    assert two_sided_p(statistic, freedom) == pytest.approx(expected, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 4.7, 60.0])
@pytest.mark.parametrize("probability", [0.05, 0.4, 1.0])
def test_students_quantile(probability, freedom):
    expected = stats.t.isf(probability / 2, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=2e-3, abs=1e-9)


@pytest.mark.parametrize(
    ("probability", "freedom"),
    [(0.05, np.nan), (0.05, np.inf), (0.05, -1.0), (0.05, 0.0), (np.nan, 3.0), (0.0, 3.0), (-1.0, 3.0)],
)
def test_a_quantile_that_does_not_exist_is_not_searched_for(probability, freedom):
    with pytest.raises(ValueError, match="student_quantile: probability"):
        student_quantile(probability, freedom)


def test_runs_are_grouped_by_system():
    runs = ["alone@1", "distilled@1", "alone@2", "teacher"]
    assert runs_by_system(runs) == {
        "alone": ["alone@1", "alone@2"],
        "distilled": ["distilled@1"],
        "teacher": ["teacher"],
    }


def constant(scores, samples=20):
    """Resamples that change nothing: (R, S)."""
    return np.repeat(np.array(scores)[:, None], samples, 1)


def test_without_a_spread_over_examples_it_is_welchs_test():
    first, second = [60.0, 64.0, 62.0], [66.0, 65.0, 69.0, 66.0]
    found = difference_of_means(second, first, constant(second), constant(first), 100)
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert found.value == pytest.approx(4.5)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4)
    assert found.freedom == pytest.approx(expected.df)
    interval = expected.confidence_interval()
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-4)
    assert found.examples_error == 0
    assert found.error == pytest.approx(np.sqrt(4 / 3 + 3 / 4))
    detectable = stats.t.isf(0.025, expected.df) + stats.t.isf(0.2, expected.df)
    shrunk = stats.chi.mean(expected.df) / np.sqrt(expected.df)
    assert found.detectable == pytest.approx(detectable * found.error / shrunk, rel=1e-4)


def test_without_a_spread_over_runs_it_is_the_bootstrap_over_examples():
    resampled = np.array([[1.0, 3.0, 5.0, 7.0]] * 2)  # both runs move together
    found = difference_of_means([4.0, 4.0], [0.0, 0.0], resampled, np.zeros((2, 4)), 5)
    assert found.seeds_error == 0
    assert found.examples_error == pytest.approx(np.sqrt(20 / 3 * 5 / 4))  # by 5 / 4: few were drawn from
    assert found.freedom == pytest.approx(4)
    statistic = 4 / found.examples_error
    assert found.p_value == pytest.approx(2 * stats.t.sf(statistic, 4), rel=1e-4)


def test_what_a_resample_does_to_single_runs_is_not_counted_again():
    """The runs of a system part by +1 and -1 with each resample; their mean stays or moves by 2."""
    apart = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
    found = difference_of_means([1.0, -1.0], [0.0, 0.0], apart, np.zeros((2, 4)), 101)
    assert found.examples_error == 0
    assert found.seeds_error == pytest.approx(1)
    together = apart + np.array([2.0, 2.0, -2.0, -2.0])
    found = difference_of_means([1.0, -1.0], [0.0, 0.0], together, np.zeros((2, 4)), 101)
    # 16/3 of the mean, less half of 8/3 of a run apart from it, which is 2 * 4/3 over one degree of freedom
    assert found.examples_error == pytest.approx(np.sqrt((16 / 3 - 4 / 3) * 1.01))


def test_equal_systems_have_p_1_and_an_interval_of_nothing():
    same = [60.0, 60.0, 60.0]
    varying = np.array([[59.0, 61.0, 60.5]] * 3)
    found = difference_of_means(same, same, varying, varying, 30)
    assert (found.value, found.p_value, found.interval, found.detectable) == (0, 1, (0, 0), 0)
    assert not found.is_significant


def test_rounding_is_not_a_difference():
    found = difference_of_means(
        [60.0] * 3, [60.0 + 1e-13] * 3, constant([60.0] * 3), constant([60.0] * 3), 30
    )
    assert found.p_value == 1


@pytest.mark.parametrize(("examples", "significant"), [(2, False), (5, False), (6, True), (2000, True)])
def test_a_difference_without_any_spread_takes_some_examples(examples, significant):
    """All runs right on all examples, and all wrong: two examples are few for that."""
    right, wrong = np.full((2, 20), 100.0), np.zeros((2, 20))
    found = difference_of_means([100.0, 100.0], [0.0, 0.0], right, wrong, examples)
    assert found.is_significant == significant and found.value == 100.0


def test_seeds_that_disagree_make_p_large():
    base = [60.0, 61.0, 62.0]
    near, far = [64.0, 65.0, 66.0], [56.0, 65.0, 74.0]
    found = [difference_of_means(own, base, constant(own), constant(base), 100) for own in (near, far)]
    assert found[0].value == found[1].value == pytest.approx(4)
    assert found[0].p_value < 0.01
    assert found[1].p_value > 0.4
    assert found[1].detectable > 5 * found[0].detectable


@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize(
    ("of_seed", "of_example", "of_both"), [(1, 0.1, 0.1), (0.1, 1, 0.1), (0.1, 0.1, 1), (0.3, 1, 1)]
)
def test_one_trial_of_twenty_finds_what_is_not_there(runs, of_seed, of_example, of_both):
    """Equal systems, whose scores are means over clusters of what seed, cluster and both together add."""
    generator = np.random.default_rng(7)
    clusters, samples, trials = 50, 200, 400
    draws = generator.multinomial(clusters, np.full(clusters, 1 / clusters), samples) / clusters  # (S, K)
    found = 0
    for _ in range(trials):
        sides = [
            of_seed * generator.normal(size=(runs, 1)) / np.sqrt(clusters)
            + of_example * generator.normal(size=clusters)
            + of_both * generator.normal(size=(runs, clusters))
            for _ in range(2)
        ]
        means = [side.mean(1) for side in sides]
        first, second = (side @ draws.T for side in sides)
        found += difference_of_means(means[0], means[1], first, second, clusters).is_significant
    assert 0.02 < found / trials < 0.085  # three standard errors around 0.05 and the test's own cautiousness


def test_the_sentence_says_it_all():
    difference = Difference(1.5, 0.3, 0.4, 6.0, 0.0241)
    low, high = 1.5 - stats.t.isf(0.025, 6) * 0.5, 1.5 + stats.t.isf(0.025, 6) * 0.5
    smallest = (stats.t.isf(0.025, 6) + stats.t.isf(0.2, 6)) * 0.5 / (stats.chi.mean(6) / np.sqrt(6))
    assert verdict("distilled", "alone", "BLEU", difference, "clusters") == (
        f"distilled: +1.50 BLEU against alone, 95 % interval {low:+.2f} to {high:+.2f}, standard error 0.50 "
        "(seeds 0.30, clusters 0.40); significant (p = 0.0241, level 0.05); the smallest difference that is "
        f"found in four trials of five: {smallest:.2f}"
    )
    one = Difference(1.5, 0.0, 0.4, 6.0, 0.2, of_seeds=False)
    assert "standard error 0.40 (clusters 0.40 alone); not significant (p = 0.2000" in verdict(
        "distilled", "alone", "BLEU", one, "clusters"
    )
    assert verdict("distilled", "alone", "BLEU", None) == (
        "distilled: not tested against alone, which takes two runs of each or more"
    )
