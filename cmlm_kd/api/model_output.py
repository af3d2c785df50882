"""The output of a model for one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses.divergences import widen


@dataclass(frozen=True)
class ModelOutput:
    """The output of a student or teacher: logits, or what they are projected from, and what was asked for.

    Attributes:
        logits: ``(B, T, V)`` for target tokens, ``(B, C)`` for sentences, ``(N, V)`` for unlabelled text, or
            None where ``features`` are given. Log-probabilities are logits too.
        features: ``(B, T, d)``, or ``(N, d)`` for unlabelled text, the hidden states that the output layer
        would
            project.
        weight: ``(V, d)``, the output embedding that goes with ``features``.
        bias: ``(V,)`` or None.
        hidden_states: layer (0: embeddings) -> ``(B, S, d)``, or ``(B, d)`` where the first position alone
            was asked for; only layers that the criterion needs.
        attention_scores: layer (from 1) -> ``(B, h, S, S)`` before the softmax, the padding mask added.
        attention_mask: ``(B, S)``, 1 on real positions, 0 on padding; None where nothing is kept by position.
        positions: ``(N,)``, where in a text it predicts, rising and counted over the batch (``row * S +
            column``); of a translator that teaches, the target tokens that its ``logits (N, V)`` or
            ``features (N, d)`` are of; None for other models.
        exits: ``(L, B, C)``, logits of each layer's classifier, first to last; None where not asked for.
        cross_attention_scores: layer (from 1) of a translator's decoder -> ``(B, h, T, S)`` before the
            softmax, without a mask; ``hidden_states`` and ``attention_scores`` are then its decoder's.
        encoder: what was kept of a translator's encoder, with its ``attention_mask`` ``(B, S)``; or None.
        again: runs a translator on the same sources once more, with the tokens ``(B, T)`` in the place of the
            target's, padded where it is; the source is not encoded again. None where it was not asked for.
    """

    logits: Tensor | None = None
    features: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attention_scores: Mapping[int, Tensor] = field(default_factory=dict)
    attention_mask: Tensor | None = None
    positions: Tensor | None = None
    exits: Tensor | None = None
    cross_attention_scores: Mapping[int, Tensor] = field(default_factory=dict)
    encoder: ModelOutput | None = None
    again: Callable[[Tensor], ModelOutput] | None = None

    def vocabulary_logits(self, rows: Tensor | None = None) -> Tensor:
        """Return the logits for unlabelled text, or of some of its rows: ``(N, V)``, in float32 at least.

        Raises:
            ValueError: if there are none.
        """
        if self.logits is not None:
            return widen(self.logits if rows is None else self.logits[rows])
        features, weight = self.projection()
        return widen(F.linear(features if rows is None else features[rows], weight, self.bias))

    def sentence_logits(self) -> Tensor:
        """Return the logits, ``(B, C)``, in float32 at least.

        Raises:
            ValueError: if there are none.
        """
        if self.logits is None:
            raise ValueError("ModelOutput: there are no logits")
        return widen(self.logits)

    def exit_logits(self) -> Tensor:
        """Return the logits of each layer's classifier, ``(L, B, C)``, in float32 at least.

        Raises:
            ValueError: if there are none.
        """
        if self.exits is None:
            raise ValueError("ModelOutput: there are no exits")
        return widen(self.exits)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the logits, or of the features they are projected from."""
        return self.projection()[0].dtype if self.logits is None else self.logits.dtype

    @property
    def vocabulary(self) -> int:
        """The number of entries it chooses from, V."""
        return self.projection()[1].size(0) if self.logits is None else self.logits.size(-1)

    def projection(self) -> tuple[Tensor, Tensor]:
        """Return features and weight.

        Raises:
            ValueError: if there are neither logits nor features with their weight.
        """
        if self.features is None or self.weight is None:
            raise ValueError("ModelOutput: give logits, or features and weight")
        return self.features, self.weight
