"""Inside a Hugging Face encoder: one layer at a time, and the attention scores of layers before the softmax.

Between two layers something can happen. Embeddings and layers are the encoder's own modules; what its forward
does around them is small, and done here. Position ids are given out by the embeddings, so that rows and
right-hand padding may be dropped between two layers.

Hugging Face models return attention after the softmax; TinyBERT compares it before. The scores are made again
from what the query and key projections put out, so that the model itself may run with any attention kernel
(sdpa, flash, eager), and its forward, its outputs and its configuration stay as they are. The same works on
a student: gradients flow through the scores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.families import family_of, names_of


def check_layerwise(config: Any, name: str) -> None:
    """Refuse an encoder that cannot be run layer by layer.

    Raises:
        UserError: naming the model and its type.
    """
    if not family_of(config).layers.exits or getattr(config, "is_decoder", False):
        kind = "decoder" if getattr(config, "is_decoder", False) else "model"
        raise UserError(
            f"{name} is a {config.model_type} {kind}, which cannot be left between two layers; take an "
            f"encoder of {names_of(lambda layers: layers.exits)}"
        )


def embed(encoder: Any, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
    """Return what the first layer reads: two ``(B, S)`` -> ``(B, S, d)``.

    Token types are ignored by encoders without such embeddings.
    """
    types: dict[str, Tensor] = {}
    if getattr(encoder.config, "type_vocab_size", 0) > 1:
        types["token_type_ids"] = token_type_ids
    states = encoder.embeddings(input_ids=input_ids, **types)  # (B, S, e)
    if hasattr(encoder, "embeddings_project"):  # ELECTRA's narrow embeddings
        states = encoder.embeddings_project(states)  # (B, S, d)
    return states  # type: ignore[no-any-return]


def run_layer(layer: nn.Module, states: Tensor, padding: Tensor | None) -> Tensor:
    """Return the layer's output, ``(B, S, d)`` -> ``(B, S, d)``; ``padding`` is :func:`additive_mask`'s, or
    None where there is no padding."""
    output = layer(states, padding)
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]


def additive_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to attention scores, ``(B, S)`` -> ``(B, 1, 1, S)``: 0, or the least there is on
    padding."""
    padding = attention_mask[:, None, None, :].eq(0)  # (B, 1, 1, S)
    return torch.zeros_like(padding, dtype=dtype).masked_fill(padding, torch.finfo(dtype).min)


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
    if not layers:
        yield {}
        return
    projections = family_of(encoder.config).layers.projections
    if projections is None:
        raise UserError(
            f"attention scores of a {encoder.config.model_type} model can't be read; supported are "
            f"{names_of(lambda layers: layers.projections)}"
        )
    padding = (1 - attention_mask.long())[:, None, None, :] * MASKED  # (B, 1, 1, L)
    collector = _Collector(frozenset(layers), padding)
    try:
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
