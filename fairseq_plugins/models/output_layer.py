"""Hidden states instead of logits from a fairseq decoder, in the model's own forward.

A fused loss projects hidden states itself. They must still come out of the wrapped model's forward, or
``DistributedDataParallel`` would not synchronise. Transformer and LSTM decoders both end in
``self.output_layer``, so standing in for it while the model runs serves both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from fairseq.models.lstm import LSTMDecoder
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn

KNOWN_OUTPUT_LAYERS = (TransformerDecoderBase.output_layer, LSTMDecoder.output_layer)


@dataclass(frozen=True)
class Projection:
    """A linear output layer: ``weight (V, d)`` and ``bias (V,)`` or None."""

    weight: Tensor
    bias: Tensor | None


def find_projection(model: nn.Module) -> Projection | str:
    """Return the linear output layer of the model's decoder, or why none can be stood in for."""
    decoder = getattr(model, "decoder", None)
    if decoder is None:
        return "the model has no decoder"
    if getattr(type(decoder), "output_layer", None) not in KNOWN_OUTPUT_LAYERS:
        return f"{type(decoder).__name__} has an output layer of its own"
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "the decoder has an adaptive softmax"
    if isinstance(decoder, LSTMDecoder) and decoder.share_input_output_embed:
        return Projection(decoder.embed_tokens.weight, None)
    layer = decoder.fc_out if isinstance(decoder, LSTMDecoder) else decoder.output_projection
    plain = type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks
    return Projection(layer.weight, layer.bias) if plain else "the output layer is not a plain nn.Linear"


def adaptive_log_probs(softmax: AdaptiveSoftmax, features: Tensor) -> Tensor:
    """Return the log-probabilities of all entries, ``(B, T, d)`` -> ``(B, T, V)``, differentiably.

    ``AdaptiveSoftmax.get_log_prob`` is for decoding: it works in place, which autograd refuses, and given
    targets it leaves out the bands of entries that no target is in, where a teacher may well have some.
    """
    hidden = softmax.dropout_module(features.flatten(0, 1))  # (B*T, d)
    head, common = softmax.lsm(softmax.head(hidden)), softmax.cutoff[0]  # (B*T, common + bands)
    bands = [head[:, :common]]
    for band, layer in enumerate(softmax.tail):
        bands.append(softmax.lsm(layer(hidden)) + head[:, common + band, None])
    return torch.cat(bands, 1).unflatten(0, features.shape[:2])  # type: ignore[no-untyped-call]


class StandIn:
    """Object in the place of ``output_layer``: hands its argument on and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, features: Tensor) -> Tensor:
        """Return ``features`` unchanged."""
        self.asked = True
        return features


@contextlib.contextmanager
def without_output_layer(decoder: nn.Module) -> Iterator[StandIn]:
    """Let the decoder return hidden states ``(B, T, d)`` instead of logits ``(B, T, V)`` for a while."""
    stand_in = StandIn()
    # An attribute of the instance hides the method of the class.
    decoder.output_layer = stand_in  # type: ignore[assignment]
    try:
        yield stand_in
    finally:
        del decoder.output_layer
