"""What a masked language model's output layer would project, instead of its logits.

The logits of N positions are N * V numbers. A loss that projects them chunk by chunk takes what comes before
the output layer, and the layer's matrix.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


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
def features_instead_of_logits(model: Any) -> Iterator[OutputLayer]:
    """Let a Hugging Face masked language model put out features instead of logits, for a while.

    Args:
        model: a ``...ForMaskedLM``; if its output layer is no plain matrix it goes on putting out logits.
    """
    if model.config.model_type == "mobilebert":
        with _mobilebert(model.cls.predictions) as layer:
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
def _mobilebert(head: Any) -> Iterator[OutputLayer]:
    """MobileBERT's matrix is the word embeddings, narrower than its states, and a second part beside them."""
    weight = torch.cat([head.decoder.weight, head.dense.weight.t()], 1)  # (V, d)
    layer = OutputLayer(weight, head.decoder.bias)
    with _forward_of(head, lambda states: layer(head.transform(states))):
        yield layer


@contextlib.contextmanager
def _forward_of(module: nn.Module, stand_in: Any) -> Iterator[None]:
    module.forward = stand_in  # an attribute of the instance hides the method of the class
    try:
        yield
    finally:
        del module.forward
