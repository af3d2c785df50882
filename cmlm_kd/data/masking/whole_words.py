"""Whole-word masks: all pieces of a word are predicted, or none (BERT's later models).

Words are drawn as pieces are in :func:`cmlm_kd.data.masking.positions.random_mask`, so that a piece is still chosen with the
probability given, whatever the length of its word.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.masking.positions import random_mask
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import WORD_START


def word_starts(tokenizer: PieceTokenizer) -> NDArray[np.bool_]:
    """Return which pieces of a vocabulary begin a word, ``(V,)``.

    WordPiece marks pieces that go on with a word ("##ing"), so that punctuation is a word of its own. The
    others mark pieces before which there is a space; punctuation goes on with the word before it. Special
    tokens begin a word.
    """
    special = set(tokenizer.tokenizer.all_special_ids)
    if tokenizer.kind != "wordpiece":
        begins = (i in special or tokenizer.symbol(i).startswith(WORD_START) for i in range(len(tokenizer)))
        return np.fromiter(begins, np.bool_, len(tokenizer))
    model = json.loads(tokenizer.tokenizer.backend_tokenizer.to_str())["model"]  # type: ignore[attr-defined]
    goes_on = np.zeros(len(tokenizer), np.bool_)  # (V,)
    for piece, i in model["vocab"].items():
        goes_on[i] = i not in special and piece.startswith(model["continuing_subword_prefix"])
    return ~goes_on


def word_numbers(pieces: NDArray[np.integer], starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for each piece of a sentence, the number of its word from 0: ``(L,)``.

    Args:
        pieces: ``(L,)`` ids; the first begins a word whatever it is.
        starts: ``(V,)``, see :func:`word_starts`.
    """
    begins = starts[pieces]  # (L,)
    begins[:1] = True
    numbers: NDArray[np.int64] = np.cumsum(begins, dtype=np.int64) - 1
    return numbers


def whole_word_mask(
    pieces: NDArray[np.integer],
    starts: NDArray[np.bool_],
    generator: np.random.Generator,
    probability: float,
) -> NDArray[np.bool_]:
    """Choose the pieces of a sentence to predict, word by word, at least one word.

    Args:
        pieces: ``(L,)`` ids without special tokens, L at least 1.
        starts: ``(V,)``, see :func:`word_starts`.
        generator: source of randomness.
        probability: of each word, in (0, 1].

    Returns:
        ``(L,)`` bool.
    """
    numbers = word_numbers(pieces, starts)  # (L,)
    chosen = random_mask(int(numbers[-1]) + 1, generator, probability)  # (words,)
    mask: NDArray[np.bool_] = chosen[numbers]  # (L,)
    return mask
