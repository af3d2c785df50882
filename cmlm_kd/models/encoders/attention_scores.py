"""Attention scores before the softmax, of the layers asked for and no others.

Hugging Face models return attention after the softmax; TinyBERT compares it before. The scores are made again
from what the query and key projections put out, so that the model itself may run with any attention kernel
(sdpa, flash, eager), and its forward, its outputs and its configuration stay as they are. The same works on
a student: gradients flow through the scores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.families import family_of, names_of

MASKED = -1e4
"""What BERT adds to the scores of padding; their softmax is 0 in every precision."""


def gives_attention_scores(encoder: Any) -> bool:
    """Return whether the scores of a Hugging Face encoder can be read."""
    return family_of(encoder.config).layers.projections is not None


@contextlib.contextmanager
def attention_scores(
    encoder: Any, layers: Sequence[int], attention_mask: Tensor
) -> Iterator[dict[int, Tensor]]:
    """Collect the scores of the one forward that runs in the ``with`` block.

    Args:
        encoder: a Hugging Face encoder, or a model that holds one.
        layers: layers to collect, counted from 1 as ``attentions`` counts them from 0.
        attention_mask: ``(B, L)`` of the batch, 0 on padding.

    Yields:
        layer -> ``(B, H, L, L)``, queries times keys over the square root of the head's size, and
        :data:`MASKED` added where the key is padding.

    Raises:
        UserError: if the model's scores can't be read, or a layer didn't run.
    """
    projections = family_of(encoder.config).layers.projections
    if projections is None:
        raise UserError(
            f"attention scores of a {encoder.config.model_type} model can't be read; supported are "
            f"{names_of(lambda layers: layers.projections)}"
        )
    padding = (1 - attention_mask.long())[:, None, None, :] * MASKED  # (B, 1, 1, L)
    collector = _Collector(frozenset(layers), padding)
    try:
        if layers:
            collector.attach(encoder, *projections)
        yield collector.scores
    finally:
        collector.detach()
    lost = sorted(set(layers) - collector.scores.keys())
    if lost:
        raise UserError(
            f"attention scores of layer {', '.join(map(str, lost))} were asked for; the "
            f"{encoder.config.model_type} model ran {collector.queries} layers"
        )


class _Collector:
    """Counts layers as they run, because ALBERT runs one and the same module many times."""

    def __init__(self, wanted: frozenset[int], padding: Tensor) -> None:
        self.scores: dict[int, Tensor] = {}
        self.queries = 0
        self._keys = 0
        self._wanted, self._padding = wanted, padding
        self._waiting: Tensor | None = None
        self._handles: list[Any] = []

    def attach(self, encoder: nn.Module, query: str, key: str) -> None:
        for module in encoder.modules():
            if hasattr(module, query) and hasattr(module, key):
                self._attach_to(module, getattr(module, query), getattr(module, key))

    def _attach_to(self, attention: Any, query: nn.Module, key: nn.Module) -> None:
        size = int(attention.attention_head_size)

        def after_query(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.queries += 1
            if self.queries in self._wanted:
                self._waiting = _heads(output, size) * size**-0.5  # (B, H, L, d / H)

        def after_key(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._keys += 1
            if self._waiting is not None:
                scores = self._waiting @ _heads(output, size).transpose(2, 3)  # (B, H, L, L)
                self.scores[self._keys] = scores + self._padding.to(scores.dtype)
                self._waiting = None

        self._handles.append(query.register_forward_hook(after_query))
        self._handles.append(key.register_forward_hook(after_key))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()


def _heads(projected: Tensor, size: int) -> Tensor:
    """Split ``(B, L, H * size)`` into heads, ``(B, H, L, size)``."""
    return projected.view(*projected.shape[:2], -1, size).transpose(1, 2)
