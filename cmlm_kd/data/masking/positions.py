"""Positions that a masked language model has to predict: random ones, whole words, rare tokens, or all.

A conditional masked language model predicts its target's tokens and EOS: a target of ``L`` positions has
``L - 1`` tokens.

Whole words (BERT's later models): all tokens of a word are predicted, or none. Words are drawn as tokens are
in :func:`random_mask`, so that a token is still chosen with the given probability, however long its word.

Rare tokens (DistilBERT): a token that stands c times in the training text is chosen in proportion to
``max(c, 1) ** -smoothing``, over a whole batch at once (the released ``train.py`` and ``distiller.py:
prepare_batch_mlm``; XLM's idea). The number of choices is fixed, the given share of the batch rounded up, and
they are drawn without replacement, so that common tokens give way to rare ones of other sentences: a sentence
alone may get none. The released code also drops choices until their number is a multiple of 8 when it trains
in half precision; that is not copied.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.system.ranges import SHARE_ABOVE_ZERO, at_least, check_range
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import WORD_START

MASK_PROBABILITY = 0.15
"""Chen et al. (2020), section 3.1, as in BERT."""

COVER_STRIDE = 7
"""Chen et al. (2020), appendix A: 1 / 7 of the positions per pass, close to 15 %."""


def check_mask_probability(owner: str, probability: float) -> None:
    """Raise UserError, in the name of ``owner``, unless a ``--mask-probability`` is in (0, 1]."""
    hint = f"{MASK_PROBABILITY} is usual"
    check_range("--mask-probability", probability, SHARE_ABOVE_ZERO, owner=owner, hint=hint, joint=", ")


def random_mask(
    length: int, generator: np.random.Generator, probability: float = MASK_PROBABILITY
) -> NDArray[np.bool_]:
    """Draw the positions to mask in training, at least one.

    Every position, EOS included, is masked with ``probability`` independently, given that not all of them
    stay unmasked (released code: ``cmlm/data.py: convert_example_to_features`` draws again until one is).

    Args:
        length: positions of the target, EOS included; at least 1.
        generator: source of randomness.
        probability: in (0, 1].

    Returns:
        ``(length,)`` bool, True where the input is ``[MASK]``.
    """
    mask = generator.random(length) < probability  # (length,)
    if not mask.any():
        # Where the first masked position lies, given that there is one, is a truncated geometric draw: one
        # step, however small the probability. What follows it is independent of it.
        any_at_all = -np.expm1(length * np.log1p(-probability))
        first = int(np.log1p(-generator.random() * any_at_all) / np.log1p(-probability))
        first = min(first, length - 1)  # rounding
        mask[first] = True
        mask[first + 1 :] = generator.random(length - first - 1) < probability
    return mask


def sentence_generator(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return a generator of nothing but its arguments, so batches and workers do not change a draw."""
    return np.random.default_rng((seed, epoch, row))


def batch_generator(seed: int, epoch: int, rows: Sequence[int]) -> np.random.Generator:
    """Return a generator of nothing but its arguments, for draws that the rows of a batch share."""
    return np.random.default_rng((seed, epoch, *rows))


def cover_passes(length: int, stride: int = COVER_STRIDE) -> int:
    """Return how many passes cover a target: ``stride``, or one a position where there are fewer."""
    return min(length, stride)


def cover_mask(length: int, index: int, stride: int = COVER_STRIDE) -> NDArray[np.bool_]:
    """Return the positions that one pass masks: ``index``, ``index + stride``, ``index + 2 * stride``, ...

    Over ``cover_passes(length, stride)`` passes every position is masked exactly once (released code:
    ``dump_teacher_hiddens.py: convert_example``).

    Args:
        length: positions of the target, EOS included; at least 1.
        index: of the pass, 0 to ``cover_passes(length, stride) - 1``.
        stride: distance of the masked positions, at least 1.

    Returns:
        ``(length,)`` bool.
    """
    mask = np.zeros(length, np.bool_)  # (length,)
    mask[index::stride] = True
    return mask


def word_starts(tokenizer: PieceTokenizer) -> NDArray[np.bool_]:
    """Return which tokens of a vocabulary begin a word, ``(V,)``.

    WordPiece marks tokens that go on with a word ("##ing"), so that punctuation is a word of its own. The
    others mark tokens before which there is a space; punctuation goes on with the word before it. Special
    tokens begin a word.
    """
    special = set(tokenizer.tokenizer.all_special_ids)
    if tokenizer.kind != "wordpiece":
        begins = (i in special or tokenizer.symbol(i).startswith(WORD_START) for i in range(len(tokenizer)))
        return np.fromiter(begins, np.bool_, len(tokenizer))
    model = json.loads(tokenizer.tokenizer.backend_tokenizer.to_str())["model"]  # type: ignore[attr-defined]
    goes_on = np.zeros(len(tokenizer), np.bool_)  # (V,)
    for token, i in model["vocab"].items():
        goes_on[i] = i not in special and token.startswith(model["continuing_subword_prefix"])
    return ~goes_on


def word_numbers(tokens: NDArray[np.integer], starts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for each token of a sentence, the number of its word from 0: ``(L,)``.

    Args:
        tokens: ``(L,)`` ids; the first begins a word whatever it is.
        starts: ``(V,)``, see :func:`word_starts`.
    """
    begins = starts[tokens]  # (L,)
    begins[:1] = True
    numbers: NDArray[np.int64] = np.cumsum(begins, dtype=np.int64) - 1
    return numbers


def whole_word_mask(
    tokens: NDArray[np.integer],
    starts: NDArray[np.bool_],
    generator: np.random.Generator,
    probability: float,
) -> NDArray[np.bool_]:
    """Choose the tokens of a sentence to predict, word by word, at least one word.

    Args:
        tokens: ``(L,)`` ids without special tokens, L at least 1.
        starts: ``(V,)``, see :func:`word_starts`.
        generator: source of randomness.
        probability: of each word, in (0, 1].

    Returns:
        ``(L,)`` bool.
    """
    numbers = word_numbers(tokens, starts)  # (L,)
    chosen = random_mask(int(numbers[-1]) + 1, generator, probability)  # (words,)
    mask: NDArray[np.bool_] = chosen[numbers]  # (L,)
    return mask


SMOOTHING = 0.7
"""The released code's."""


def check_smoothing(owner: str, smoothing: float) -> None:
    """Raise UserError, in the name of ``owner``, unless a ``--mask-smoothing`` is 0 or more."""
    hint = f"0 treats all tokens alike, {SMOOTHING} is usual"
    check_range("--mask-smoothing", smoothing, at_least(0), owner=owner, hint=hint, joint=", ")


def smoothed_weights(
    counts: NDArray[np.int64], special_ids: Sequence[int], smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """Return in what proportion tokens are chosen, ``(V,)``.

    Args:
        counts: ``(V,)`` how often each token stands in the training text.
        special_ids: ids that are never chosen.
        smoothing: at least 0; 0 treats all tokens alike.
    """
    weights = np.maximum(counts, 1).astype(np.float64) ** -smoothing  # (V,)
    weights[list(special_ids)] = 0.0
    return weights


def smoothed_mask(
    tokens: NDArray[np.integer],
    weights: NDArray[np.float64],
    probability: float,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Choose positions of a batch to predict.

    Args:
        tokens: ``(N,)`` ids of all real positions of the batch, one sentence after the other; special tokens
            among them count for the share and are never chosen.
        weights: ``(V,)``, see :func:`smoothed_weights`.
        probability: share of the positions, in (0, 1].
        generator: source of randomness, such as :func:`cmlm_kd.data.masking.positions.batch_generator`.

    Returns:
        ``(N,)`` bool: ``ceil(probability * N)`` positions, fewer only where fewer can be chosen.
    """
    weight = weights[tokens]  # (N,)
    number = min(math.ceil(probability * len(tokens)), int(np.count_nonzero(weight)))
    chosen = np.zeros(len(tokens), np.bool_)  # (N,)
    if number:
        # The first of exponential waiting times with these rates: a draw of one after the other without
        # replacement, in a single step.
        with np.errstate(divide="ignore"):
            times = generator.exponential(size=len(tokens)) / weight  # (N,), inf where the weight is 0
        chosen[np.argpartition(times, number - 1)[:number]] = True
    return chosen
