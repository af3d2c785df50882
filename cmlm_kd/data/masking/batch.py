"""Which pieces of a batch of running text a model has to predict, and what it reads in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.data.masking.frequency import SMOOTHING, smoothed_mask, smoothed_weights
from cmlm_kd.data.masking.replacement import MaskingScheme, hide_chosen, hide_pieces
from cmlm_kd.data.masking.whole_words import whole_word_mask, word_starts
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds

Masking = Literal["random", "frequency", "whole-word", "none"]
"""``random``: each piece alike (BERT); ``frequency``: rather rare pieces than common ones, over the whole
batch (DistilBERT); ``whole-word``: all pieces of a word or none; ``none``: nothing (TinyBERT's general
stage)."""

Hidden = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""What the model reads ``(L,)`` and where it has to say what stood there ``(L,)``."""

Randomness = Callable[[Sequence[int]], np.random.Generator]
"""From the numbers of one row, or of all rows of a batch, to a generator of nothing else."""


@dataclass(frozen=True)
class TextHiding:
    """How pieces are hidden.

    Attributes:
        masking: which pieces.
        scheme: behind what, and how many.
        frame: special tokens around each row, which count for the share of ``frequency`` as they do in the
            released code, and are never chosen.
        weights: ``(V,)`` for ``frequency``, see :func:`cmlm_kd.data.masking.frequency.smoothed_weights`.
        starts: ``(V,)`` for ``whole-word``, see :func:`cmlm_kd.data.masking.whole_words.word_starts`.
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
    ) -> TextHiding:
        """Make it for a tokenizer.

        Args:
            masking: which pieces.
            tokenizer: of the text.
            probability: share of the pieces to hide, in (0, 1].
            counts: ``(V,)`` how often each piece stands in the training text, for ``frequency``.
            smoothing: at least 0, for ``frequency``.
        """
        special = tokenizer.tokenizer.all_special_ids
        ordinary = np.setdiff1d(np.arange(len(tokenizer), dtype=np.int32), special)  # (n,)
        scheme = MaskingScheme(tokenizer.special.mask, ordinary, probability)
        weights = smoothed_weights(counts, special, smoothing) if counts is not None else None
        starts = word_starts(tokenizer) if masking == "whole-word" else None
        return cls(masking, scheme, weights=weights, starts=starts)

    def hide(
        self, rows: Sequence[int], pieces: Sequence[NDArray[np.int32]], randomness: Randomness
    ) -> list[Hidden]:
        """Hide pieces of the rows of a batch.

        Args:
            rows: numbers of the rows.
            pieces: ``(L,)`` ids of each, without special tokens.
            randomness: see :data:`Randomness`.
        """
        if self.masking == "none":
            return [(ids, np.zeros(len(ids), np.bool_)) for ids in pieces]
        if self.masking == "frequency":
            return self._by_frequency(pieces, randomness(rows))
        return [self._alone(ids, randomness([row])) for row, ids in zip(rows, pieces, strict=True)]

    def _alone(self, pieces: NDArray[np.int32], generator: np.random.Generator) -> Hidden:
        """Hide pieces of one row, whatever else is in the batch."""
        if self.starts is None:
            return hide_pieces(pieces, self.scheme, generator)
        chosen = whole_word_mask(pieces, self.starts, generator, self.scheme.probability)  # (L,)
        return hide_chosen(pieces, chosen, self.scheme, generator), chosen

    def _by_frequency(
        self, pieces: Sequence[NDArray[np.int32]], generator: np.random.Generator
    ) -> list[Hidden]:
        if self.weights is None:
            raise ValueError("TextHiding: masking by frequency needs weights")
        together = np.concatenate(pieces)  # (N,)
        # A larger share of the pieces alone is the same number as the share of pieces and frames.
        share = self.scheme.probability * (1 + self.frame * len(pieces) / len(together))
        chosen = smoothed_mask(together, self.weights, min(1.0, share), generator)  # (N,)
        shown = hide_chosen(together, chosen, self.scheme, generator)  # (N,)
        ends = np.cumsum([len(ids) for ids in pieces])[:-1]  # (rows - 1,)
        return list(zip(np.split(shown, ends), np.split(chosen, ends), strict=True))


def frame_batch(
    pieces: Sequence[NDArray[np.int32]], hidden: Sequence[Hidden], special: SpecialIds
) -> dict[str, Tensor]:
    """Return a batch of rows with their frame of special tokens, right-padded.

    Args:
        pieces: ``(L,)`` ids of each row.
        hidden: of each row, see :meth:`TextHiding.hide`.
        special: ids of the frame.

    Returns:
        ``input_ids`` and ``attention_mask`` ``(B, S)``, ``masked_index`` ``(M,)`` (hidden positions counted
        over the batch: ``row * S + column``) and ``target`` ``(M,)`` (what stood there), int64.
    """
    shape = len(pieces), max(map(len, pieces)) + 2
    inputs, labels = np.full(shape, special.pad, np.int64), np.zeros(shape, np.int64)  # (B, S)
    masked, attended = np.zeros(shape, np.bool_), np.zeros(shape, np.int64)  # (B, S)
    for i, (ids, (shown, chosen)) in enumerate(zip(pieces, hidden, strict=True)):
        end = len(ids) + 1
        inputs[i, 0], inputs[i, 1:end], inputs[i, end] = special.cls, shown, special.sep
        labels[i, 1:end], masked[i, 1:end], attended[i, : end + 1] = ids, chosen, 1
    index = np.flatnonzero(masked)  # (M,)
    arrays = {
        "input_ids": inputs,
        "attention_mask": attended,
        "masked_index": index,
        "target": labels.reshape(-1)[index],
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
