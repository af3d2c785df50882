"""Masks that prefer rare pieces: how many, which, and that equal seeds give equal masks."""

import math

import numpy as np
import pytest

from cmlm_kd.data.masking.frequency import check_smoothing, smoothed_mask, smoothed_weights
from cmlm_kd.data.masking.positions import batch_generator
from cmlm_kd.errors import UserError

SPECIAL = (0, 1)


def shares(weights, pieces, number, rounds=20_000):
    """Return how often each position is chosen when ``number`` are."""
    generator = np.random.default_rng(3)
    probability = number / len(pieces)
    return np.mean([smoothed_mask(pieces, weights, probability, generator) for _ in range(rounds)], axis=0)


def inclusion(weights, number):
    """Return exactly how often each position is chosen by drawing one after the other without replacement."""
    if number == 0:
        return np.zeros(len(weights))
    total = np.zeros(len(weights))
    for first, weight in enumerate(weights):
        if weight:
            rest = weights.copy()
            rest[first] = 0.0
            share = inclusion(rest, number - 1)
            share[first] = 1.0
            total += weight / weights.sum() * share
    return total


def test_weights_are_counts_to_the_minus_smoothing():
    counts = np.array([7, 7, 0, 1, 100, 10_000])
    np.testing.assert_allclose(
        smoothed_weights(counts, SPECIAL, 0.7), [0, 0, 1, 1, 100**-0.7, 10_000**-0.7], rtol=1e-14
    )
    np.testing.assert_array_equal(smoothed_weights(counts, SPECIAL, 0.0), [0, 0, 1, 1, 1, 1])
    assert counts.tolist() == [7, 7, 0, 1, 100, 10_000]


@pytest.mark.parametrize("length", [1, 6, 7, 20, 100, 333])
def test_the_number_is_the_share_rounded_up(length):
    generator = np.random.default_rng(0)
    pieces = generator.integers(2, 50, length)
    weights = smoothed_weights(np.arange(50), SPECIAL)
    for _ in range(5):
        mask = smoothed_mask(pieces, weights, 0.15, generator)
        assert mask.sum() == math.ceil(0.15 * length)


def test_special_tokens_count_for_the_share_and_are_never_chosen():
    pieces = np.array([0, 5, 1, 0, 6, 1, 0, 7, 1])
    weights = smoothed_weights(np.ones(8, np.int64), SPECIAL)
    mask = smoothed_mask(pieces, weights, 0.3, np.random.default_rng(0))
    assert mask.sum() == 3 and set(pieces[mask]) == {5, 6, 7}
    everything = smoothed_mask(pieces, weights, 1.0, np.random.default_rng(0))
    assert everything.tolist() == (pieces > 1).tolist()
    assert not smoothed_mask(pieces[[0, 2]], weights, 1.0, np.random.default_rng(0)).any()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_draw_is_one_after_the_other_without_replacement(number):
    weights = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    np.testing.assert_allclose(
        shares(weights, np.arange(5), number), inclusion(weights, number), atol=0.012, rtol=0
    )


def test_a_hundred_times_as_frequent_is_chosen_a_25th_as_often():
    counts = np.array([0, 0, 100, 10_000])
    pieces = np.tile([2, 3], 200)
    share = shares(smoothed_weights(counts, SPECIAL, 0.7), pieces, 1, rounds=8000)
    rare, frequent = share[::2].sum(), share[1::2].sum()
    assert frequent / rare == pytest.approx(100**-0.7, rel=0.15)


def test_a_mask_depends_on_seed_epoch_and_rows_alone():
    pieces = np.arange(2, 200)
    weights = smoothed_weights(np.arange(200), SPECIAL)

    def draw(*arguments):
        return smoothed_mask(pieces, weights, 0.15, batch_generator(*arguments)).tolist()

    assert draw(1, 2, [7, 8]) == draw(1, 2, np.array([7, 8]))
    others = [draw(2, 2, [7, 8]), draw(1, 3, [7, 8]), draw(1, 2, [7, 9]), draw(1, 2, [7])]
    assert draw(1, 2, [7, 8]) not in others


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_impossible_smoothing(value):
    with pytest.raises(UserError, match=f"bert_mlm: --mask-smoothing is {value}"):
        check_smoothing("bert_mlm", value)
    check_smoothing("bert_mlm", 0.0)
