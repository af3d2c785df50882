"""Masks of training and of the dump."""

import math

import numpy as np
import pytest
from tiny_tokenizers import training_lines, write_byte_level, write_wordpiece

from cmlm_kd.data.masking.batch import MaskingScheme, replace_chosen
from cmlm_kd.data.masking.positions import (
    COVER_STRIDE,
    batch_generator,
    check_smoothing,
    cover_mask,
    cover_passes,
    random_mask,
    sentence_generator,
    smoothed_mask,
    smoothed_weights,
    whole_word_mask,
    word_numbers,
    word_starts,
)
from cmlm_kd.data.text.sources import TextFile
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.masked_lm import mask_text
from cmlm_kd.tokenization.pieces import PieceTokenizer


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


STARTS = np.array([True, False] * 50)
PIECES = np.array([2, 4, 5, 6, 7, 9, 11, 8], np.int32)  # words of 1, 2, 4 and 1 pieces
WORDS = np.array([0, 1, 1, 2, 2, 2, 2, 3])


def draws(probability, rounds=20_000):
    generator = np.random.default_rng(1)
    return np.stack([whole_word_mask(PIECES, STARTS, generator, probability) for _ in range(rounds)])


def test_words_are_numbered():
    np.testing.assert_array_equal(word_numbers(PIECES, STARTS), WORDS)
    np.testing.assert_array_equal(word_numbers(np.array([5, 7, 2]), STARTS), [0, 0, 1])
    assert STARTS.sum() == 50


def test_a_word_is_chosen_whole_or_not_at_all():
    masks = draws(0.3, rounds=500)
    for word in range(4):
        of_word = masks[:, word == WORDS]
        assert (of_word.all(1) | ~of_word.any(1)).all()
    assert masks.any(1).all()


def test_a_piece_is_chosen_with_the_same_probability_in_words_of_all_lengths():
    probability = 0.3
    at_least_one = 1 - (1 - probability) ** 4  # of four words
    np.testing.assert_allclose(draws(probability).mean(0), probability / at_least_one, atol=0.015, rtol=0)


def test_all_and_equal_seeds():
    assert whole_word_mask(PIECES, STARTS, np.random.default_rng(0), 1.0).all()
    first, second = (whole_word_mask(PIECES, STARTS, np.random.default_rng(5), 0.3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_pieces_of_a_chosen_word_meet_their_fates_alone():
    scheme = MaskingScheme(3, np.arange(10, 100, dtype=np.int32))
    pieces = np.full(20_000, 5, np.int32)
    shown = replace_chosen(pieces, np.ones(20_000, np.bool_), scheme, np.random.default_rng(1))
    assert (shown == 3).mean() == pytest.approx(0.8, abs=0.01)
    assert (shown == 5).mean() == pytest.approx(0.1, abs=0.01)
    nothing = replace_chosen(pieces, np.zeros(20_000, np.bool_), scheme, np.random.default_rng(1))
    np.testing.assert_array_equal(nothing, pieces)


@pytest.mark.parametrize("kind", ["wordpiece", "bytelevel"])
def test_words_of_a_text(kind, tmp_path):
    lines = training_lines()
    if kind == "wordpiece":
        write_wordpiece(tmp_path, lines, lowercase=True)
    else:
        write_byte_level(tmp_path, lines, add_prefix_space=False)
    tokenizer = PieceTokenizer.from_pretrained(str(tmp_path))
    starts = word_starts(tokenizer)
    assert len(starts) == len(tokenizer) and starts[list(vars(tokenizer.special).values())].all()
    pieces = tokenizer.encode("two unforgettable men, standing")
    numbers = word_numbers(np.array(pieces.teacher_ids), starts)
    symbols = ["" for _ in range(numbers[-1] + 1)]
    for number, symbol in zip(numbers, pieces.symbols, strict=True):
        symbols[number] += symbol.strip("▁")
    comma = ["men", ","] if kind == "wordpiece" else ["men,"]
    assert symbols == ["two", "unforgettable", *comma, "standing"]
    assert len(pieces.symbols) > len(symbols)


def test_words_of_held_out_text_are_hidden_whole(tmp_path):
    """A token that goes on with a word is masked where the token before it is, unlike by random masks."""
    write_wordpiece(tmp_path, lines := training_lines(), lowercase=True)
    (tmp_path / "valid.txt").write_text("\n".join(lines) + "\n")
    tokenizer = PieceTokenizer.from_pretrained(str(tmp_path))
    starts = word_starts(tokenizer)
    for masking, is_whole in (("whole-word", True), ("random", False)):
        files = [TextFile(tmp_path / "valid.txt")]
        text = mask_text(files, tokenizer, max_length=64, masking=masking, probability=0.5)
        parted = 0
        for batch in text.batches:
            shape = batch["input_ids"].shape
            masked = np.zeros(shape, np.bool_).reshape(-1)
            masked[batch["masked_index"].numpy()] = True
            original = batch["input_ids"].clone().reshape(-1)
            original[batch["masked_index"]] = batch["target"]
            pieces = original.reshape(shape).numpy()
            going_on = ~starts[pieces[:, 1:]]  # (B, S - 1)
            chosen = masked.reshape(shape)
            parted += int((going_on & (chosen[:, 1:] != chosen[:, :-1])).sum())
        assert (parted == 0) == is_whole


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
