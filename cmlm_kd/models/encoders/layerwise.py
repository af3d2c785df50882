"""A Hugging Face encoder one layer at a time, so that something can happen between two layers.

Embeddings and layers are the encoder's own modules; what its forward does around them is small, and done
here. Position ids are given out by the embeddings, so that rows and right-hand padding may be dropped between
two layers.
"""

from __future__ import annotations

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
