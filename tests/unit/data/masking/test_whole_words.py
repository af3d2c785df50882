"""Whole-word masks, of words as each kind of tokenizer marks them."""

import numpy as np
import pytest
from tiny_tokenizers import training_lines, write_byte_level, write_wordpiece

from cmlm_kd.data.masking.replacement import MaskingScheme, hide_chosen
from cmlm_kd.data.masking.whole_words import whole_word_mask, word_numbers, word_starts
from cmlm_kd.data.text.sources import TextFile
from cmlm_kd.evaluation.masked_lm import hide_text
from cmlm_kd.tokenization.pieces import PieceTokenizer

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
    shown = hide_chosen(pieces, np.ones(20_000, np.bool_), scheme, np.random.default_rng(1))
    assert (shown == 3).mean() == pytest.approx(0.8, abs=0.01)
    assert (shown == 5).mean() == pytest.approx(0.1, abs=0.01)
    nothing = hide_chosen(pieces, np.zeros(20_000, np.bool_), scheme, np.random.default_rng(1))
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
    """A piece that goes on with a word is hidden where the piece before it is, unlike by random masks."""
    write_wordpiece(tmp_path, lines := training_lines(), lowercase=True)
    (tmp_path / "valid.txt").write_text("\n".join(lines) + "\n")
    tokenizer = PieceTokenizer.from_pretrained(str(tmp_path))
    starts = word_starts(tokenizer)
    for masking, is_whole in (("whole-word", True), ("random", False)):
        files = [TextFile(tmp_path / "valid.txt")]
        text = hide_text(files, tokenizer, max_length=64, masking=masking, probability=0.5)
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
