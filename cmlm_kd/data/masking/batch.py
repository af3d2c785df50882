"""Masked batches of text: the tokens that a model has to predict, and what it reads in their place.

80 % of the tokens to predict become ``[MASK]``, 10 % any token, 10 % stay (Devlin et al., 2019, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.data.masking.positions import (
    MASK_PROBABILITY,
    SMOOTHING,
    random_mask,
    smoothed_mask,
    smoothed_weights,
    whole_word_mask,
    word_starts,
)
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds

KEPT, REPLACED = 0.1, 0.1
"""Shares of the chosen tokens that stay as they are, or become any token; the others become ``[MASK]``."""


@dataclass(frozen=True)
class MaskingScheme:
    """How a token is masked.

    Attributes:
        mask_id: the id of ``[MASK]``.
        ordinary_ids: ``(n,)`` ids that may replace a token: all but the special ones.
        probability: share of the tokens to choose, in (0, 1].
    """

    mask_id: int
    ordinary_ids: NDArray[np.int32]
    probability: float = MASK_PROBABILITY


def mask_tokens(
    tokens: NDArray[np.int32], scheme: MaskingScheme, generator: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Choose tokens to predict, at least one, and mask them.

    Args:
        tokens: ``(L,)`` ids of one text without its frame of special tokens; ``L`` at least 1.
        scheme: how a token is masked.
        generator: source of randomness.

    Returns:
        what the model reads ``(L,)``, and ``(L,)`` bool, True where it has to predict what stood there. Of
        these, 80 % show ``[MASK]``, 10 % a random token, 10 % the token itself.
    """
    chosen = random_mask(len(tokens), generator, scheme.probability)  # (L,)
    return replace_chosen(tokens, chosen, scheme, generator), chosen


def replace_chosen(
    tokens: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    scheme: MaskingScheme,
    generator: np.random.Generator,
) -> NDArray[np.int32]:
    """Return what the model reads where the tokens to predict are chosen already, ``(L,)``.

    Args:
        tokens: ``(L,)`` ids.
        chosen: ``(L,)``, True where the model has to predict the token; each is drawn alone,
            also inside a word that is chosen as a whole.
        scheme: how a token is masked.
        generator: source of randomness.
    """
    draw = generator.random(len(tokens))  # (L,)
    replaced = chosen & (draw < REPLACED)  # (L,)
    masked = chosen & (draw >= REPLACED + KEPT)  # (L,)
    shown = tokens.copy()  # (L,)
    shown[replaced] = generator.choice(scheme.ordinary_ids, int(replaced.sum()))
    shown[masked] = scheme.mask_id
    return shown


Masking = Literal["random", "frequency", "whole-word", "none"]
"""``random``: each token alike (BERT); ``frequency``: rather rare tokens than common ones, over the whole
batch (DistilBERT); ``whole-word``: all tokens of a word or none; ``none``: nothing (TinyBERT's general
stage)."""

MaskedTokens = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""What the model reads ``(L,)`` and where it has to predict what stood there ``(L,)``."""

Randomness = Callable[[Sequence[int]], np.random.Generator]
"""From the numbers of one row, or of all rows of a batch, to a generator of nothing else."""


@dataclass(frozen=True)
class Masker:
    """How tokens are masked.

    Attributes:
        masking: which tokens.
        scheme: behind what, and how many.
        frame: special tokens around each row, which count for the share of ``frequency`` as they do in the
            released code, and are never chosen.
        weights: ``(V,)`` for ``frequency``, see :func:`cmlm_kd.data.masking.positions.smoothed_weights`.
        starts: ``(V,)`` for ``whole-word``, see :func:`cmlm_kd.data.masking.positions.word_starts`.
    """

    masking: Masking
    scheme: MaskingScheme
    frame: int = 2
    weights: NDArray[np.float64] | None = None
    starts: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        masking: Masking,
        tokenizer: PieceTokenizer,
        probability: float,
        counts: NDArray[np.int64] | None = None,
        smoothing: float = SMOOTHING,
    ) -> Masker:
        """Make it for a tokenizer.

        Args:
            masking: which tokens.
            tokenizer: of the text.
            probability: share of the tokens to mask, in (0, 1].
            counts: ``(V,)`` how often each token stands in the training text, for ``frequency``.
            smoothing: at least 0, for ``frequency``.
        """
        special = tokenizer.tokenizer.all_special_ids
        ordinary = np.setdiff1d(np.arange(len(tokenizer), dtype=np.int32), special)  # (n,)
        scheme = MaskingScheme(tokenizer.special.mask, ordinary, probability)
        weights = smoothed_weights(counts, special, smoothing) if counts is not None else None
        starts = word_starts(tokenizer) if masking == "whole-word" else None
        return cls(masking, scheme, weights=weights, starts=starts)

    def mask(
        self, rows: Sequence[int], tokens: Sequence[NDArray[np.int32]], randomness: Randomness
    ) -> list[MaskedTokens]:
        """Mask tokens of the rows of a batch.

        Args:
            rows: numbers of the rows.
            tokens: ``(L,)`` ids of each, without special tokens.
            randomness: see :data:`Randomness`.
        """
        if self.masking == "none":
            return [(ids, np.zeros(len(ids), np.bool_)) for ids in tokens]
        if self.masking == "frequency":
            return self._by_frequency(tokens, randomness(rows))
        return [self._alone(ids, randomness([row])) for row, ids in zip(rows, tokens, strict=True)]

    def _alone(self, tokens: NDArray[np.int32], generator: np.random.Generator) -> MaskedTokens:
        """Mask tokens of one row, whatever else is in the batch."""
        if self.starts is None:
            return mask_tokens(tokens, self.scheme, generator)
        chosen = whole_word_mask(tokens, self.starts, generator, self.scheme.probability)  # (L,)
        return replace_chosen(tokens, chosen, self.scheme, generator), chosen

    def _by_frequency(
        self, tokens: Sequence[NDArray[np.int32]], generator: np.random.Generator
    ) -> list[MaskedTokens]:
        if self.weights is None:
            raise ValueError("Masker: masking by frequency needs weights")
        together = np.concatenate(tokens)  # (N,)
        # A larger share of the tokens alone is the same number as the share of tokens and frames.
        share = self.scheme.probability * (1 + self.frame * len(tokens) / len(together))
        chosen = smoothed_mask(together, self.weights, min(1.0, share), generator)  # (N,)
        shown = replace_chosen(together, chosen, self.scheme, generator)  # (N,)
        ends = np.cumsum([len(ids) for ids in tokens])[:-1]  # (rows - 1,)
        return list(zip(np.split(shown, ends), np.split(chosen, ends), strict=True))


def frame_batch(
    tokens: Sequence[NDArray[np.int32]], masked: Sequence[MaskedTokens], special: SpecialIds
) -> dict[str, Tensor]:
    """Return a batch of rows with their frame of special tokens, right-padded.

    Args:
        tokens: ``(L,)`` ids of each row.
        masked: of each row, see :meth:`Masker.mask`.
        special: ids of the frame.

    Returns:
        ``input_ids`` and ``attention_mask`` ``(B, S)``, ``masked_index`` ``(M,)`` (masked positions counted
        over the batch: ``row * S + column``) and ``target`` ``(M,)`` (what stood there), int64.
    """
    shape = len(tokens), max(map(len, tokens)) + 2
    inputs, labels = np.full(shape, special.pad, np.int64), np.zeros(shape, np.int64)  # (B, S)
    is_masked, attended = np.zeros(shape, np.bool_), np.zeros(shape, np.int64)  # (B, S)
    for i, (ids, (shown, chosen)) in enumerate(zip(tokens, masked, strict=True)):
        end = len(ids) + 1
        inputs[i, 0], inputs[i, 1:end], inputs[i, end] = special.cls, shown, special.sep
        labels[i, 1:end], is_masked[i, 1:end], attended[i, : end + 1] = ids, chosen, 1
    index = np.flatnonzero(is_masked)  # (M,)
    arrays = {
        "input_ids": inputs,
        "attention_mask": attended,
        "masked_index": index,
        "target": labels.reshape(-1)[index],
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
