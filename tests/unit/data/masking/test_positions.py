"""Masks of training and of the dump."""

import numpy as np
import pytest

from cmlm_kd.data.masking.positions import (
    COVER_STRIDE,
    cover_mask,
    cover_passes,
    random_mask,
    sentence_generator,
)


def cover_masks(length, stride=COVER_STRIDE):
    return np.stack([cover_mask(length, index, stride) for index in range(cover_passes(length, stride))])


@pytest.mark.parametrize("stride", [1, 2, 7, 50])
@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 13, 14, 15, 40])
def test_passes_cover_every_position_once(length, stride):
    masks = cover_masks(length, stride)
    assert masks.shape == (min(length, stride), length)
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert masks.any(axis=1).all()  # no pass for nothing


def test_masked_positions_of_a_pass_are_a_stride_apart():
    assert [np.flatnonzero(mask).tolist() for mask in cover_masks(10)] == [
        [0, 7],
        [1, 8],
        [2, 9],
        *([position] for position in range(3, 7)),
    ]
    assert np.flatnonzero(cover_mask(23, 1, stride=5)).tolist() == [1, 6, 11, 16, 21]


@pytest.mark.parametrize("length", range(1, 8))
def test_short_targets_have_one_pass_a_position(length):
    np.testing.assert_array_equal(cover_masks(length), np.eye(length, dtype=bool))


@pytest.mark.parametrize("probability", [1e-9, 0.15, 0.6, 1.0])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_random_masks_are_never_empty(length, probability):
    generator = np.random.default_rng(0)
    masks = np.stack([random_mask(length, generator, probability) for _ in range(500)])
    assert masks.any(axis=1).all()
    assert masks.any(axis=0).all()  # every position, EOS (the last) included, is drawn
    if probability == 1:
        assert masks.all()


@pytest.mark.parametrize(("length", "probability"), [(1, 0.15), (3, 0.15), (4, 0.5), (12, 0.15)])
def test_random_masks_are_independent_draws_given_that_one_is_masked(length, probability):
    """Against all 2^L - 1 masks' exact probabilities, or the positions' where these are too many."""
    generator = np.random.default_rng(1)
    draws = np.stack([random_mask(length, generator, probability) for _ in range(40_000)])  # (n, L)
    not_empty = 1 - (1 - probability) ** length
    rate = probability / not_empty
    np.testing.assert_allclose(draws.mean(axis=0), rate, atol=4 * np.sqrt(rate / len(draws)))
    if length <= 4:
        codes = draws @ (1 << np.arange(length))  # (n,)
        found = np.bincount(codes, minlength=1 << length) / len(draws)
        masked = np.array([bin(code).count("1") for code in range(1 << length)])
        exact = probability**masked * (1 - probability) ** (length - masked) / not_empty
        exact[0] = 0
        np.testing.assert_allclose(found, exact, atol=4 * np.sqrt(0.25 / len(draws)))


def test_a_sentence_has_masks_of_its_own_in_every_epoch():
    def draw(seed, epoch, row):
        return random_mask(200, sentence_generator(seed, epoch, row)).tolist()

    names = [(seed, epoch, row) for seed in (1, 2) for epoch in (1, 2) for row in (0, 1)]
    forward = {name: draw(*name) for name in names}
    backward = {name: draw(*name) for name in reversed(names)}
    assert forward == backward  # whatever was drawn before
    assert len({tuple(mask) for mask in forward.values()}) == len(names)
