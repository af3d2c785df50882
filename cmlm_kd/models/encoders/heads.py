"""Masked-LM heads of Hugging Face models: what stands between encoder and output layer, and that layer.

The logits of N positions are N * V numbers. A loss that projects them chunk by chunk takes what comes before
the output layer, and the layer's matrix: :func:`without_output_layer`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.models.encoders.families import family_of, head_of

_POOLER_IS_CALLED = ("layoutlm", "squeezebert")
"""Families whose forward does not look whether there is a pooler."""


class NoPooler(nn.Module):
    """Stands where an encoder insists on calling its pooler."""

    def forward(self, states: Tensor) -> None:
        """Return nothing, ``(B, S, d)`` -> None."""


def split_masked_lm(model: Any, *, has_head: bool = True) -> tuple[nn.Module, nn.Module | None]:
    """Take a masked language model apart.

    Args:
        model: a Hugging Face ``...ForMaskedLM``.
        has_head: whether its head is more than random weights.

    Returns:
        the encoder without its pooler (which reads ``[CLS]`` alone and would be a parameter without
        gradient), and what stands between encoder and vocabulary (dense, activation, LayerNorm), None without
        ``has_head``.

    Raises:
        UserError: if the head is of an unknown form.
    """
    encoder: Any = model.base_model
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = NoPooler() if encoder.config.model_type in _POOLER_IS_CALLED else None
    return encoder, head_of(model).transform(model) if has_head else None


def has_head(model: Any, missing: Collection[str]) -> bool:
    """Return whether the checkpoint had a matrix between encoder and output layer.

    Args:
        model: a Hugging Face ``...ForMaskedLM``.
        missing: names of the parameters that the checkpoint did not have.
    """
    published = _published_head(model)
    projection = model.get_output_embeddings() if published is None else model.get_input_embeddings()
    output = {id(parameter) for parameter in projection.parameters()}
    prefix = model.base_model_prefix + "."
    return any(
        name not in missing
        for name, parameter in model.named_parameters()
        if not name.startswith(prefix) and id(parameter) not in output and parameter.dim() > 1
    )


@dataclass
class OutputLayer:
    """The last matrix of a masked language model.

    Attributes:
        weight: ``(V, d)``; None if the model has none that can be stood in for.
        bias: ``(V,)`` or None.
        asked: whether the model came to it, so that it put out features ``(N, d)`` instead of logits.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    asked: bool = False

    def __call__(self, features: Tensor) -> Tensor:
        """Return ``features`` unchanged, in place of the logits."""
        self.asked = True
        return features


@contextlib.contextmanager
def without_output_layer(model: Any) -> Iterator[OutputLayer]:
    """Let a Hugging Face masked language model put out features instead of logits, for a while.

    Args:
        model: a ``...ForMaskedLM``; if its output layer is not a plain matrix it goes on putting out logits.
    """
    head = family_of(model.config).head
    if head is not None and head.split_output:
        with _without_split_layer(model.cls.predictions) as layer:
            yield layer
        return
    published = _published_head(model)
    if published is not None:
        with _without_word_embeddings(published, model.get_input_embeddings().weight) as layer:
            yield layer
        return
    projection = model.get_output_embeddings()
    if type(projection) is not nn.Linear:
        yield OutputLayer()
        return
    layer = OutputLayer(projection.weight, projection.bias)
    with _forward_of(projection, layer):
        yield layer


@contextlib.contextmanager
def _without_split_layer(head: Any) -> Iterator[OutputLayer]:
    """MobileBERT's matrix is the word embeddings, narrower than its states, and a second part beside them."""
    weight = torch.cat([head.decoder.weight, head.dense.weight.t()], 1)  # (V, d)
    layer = OutputLayer(weight, head.decoder.bias)
    with _forward_of(head, lambda states: layer(head.transform(states))):
        yield layer


def _published_head(model: Any) -> Any:
    """Return the head of a DeBERTa as it is published, None of any other model.

    It multiplies with the word embeddings that it is given, and what transformers calls its output embeddings
    is the dense layer before.
    """
    return getattr(getattr(model, "lm_predictions", None), "lm_head", None)


@contextlib.contextmanager
def _without_word_embeddings(head: Any, weight: Tensor) -> Iterator[OutputLayer]:
    layer = OutputLayer(weight, head.bias)

    def features(states: Tensor, _word_embeddings: Any) -> Tensor:
        return layer(head.LayerNorm(head.transform_act_fn(head.dense(states))))

    with _forward_of(head, features):
        yield layer


@contextlib.contextmanager
def _forward_of(module: nn.Module, stand_in: Any) -> Iterator[None]:
    module.forward = stand_in  # an attribute of the instance hides the method of the class
    try:
        yield
    finally:
        del module.forward
