"""Attention scores before the softmax, and hidden states, of the layers asked for and no others.

Hugging Face models return attention after the softmax; TinyBERT compares it before. The scores are made again
from what the query and key projections put out, so that the model itself may run with any attention kernel
(sdpa, flash, eager), and its forward, its outputs and its configuration stay as they are. The same works on
a student: gradients flow through what is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cmlm_kd.errors import UserError

_LAYER_CLASSES = {
    "albert": "AlbertLayer",
    "bert": "BertLayer",
    "camembert": "CamembertLayer",
    "data2vec-text": "Data2VecTextLayer",
    "distilbert": "TransformerBlock",
    "electra": "ElectraLayer",
    "ernie": "ErnieLayer",
    "mobilebert": "MobileBertLayer",
    "roberta": "RobertaLayer",
    "xlm-roberta": "XLMRobertaLayer",
}
"""Model types whose scores are the scaled products of queries and keys and nothing more, and what a layer of
them is called. Relative positions (DeBERTa, MPNet) or rotations (ModernBERT) would need more than that."""

_PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"))


@dataclass
class LayerStates:
    """What was recorded of one forward.

    Attributes:
        hidden: layer -> ``(B, L, d)``; layer 0 is what the first layer reads, as in ``hidden_states``.
        scores: layer -> ``(B, H, L, L)``: queries times keys over the square root of the head's size. No mask
            has been added: columns of padding hold numbers that mean nothing.
    """

    hidden: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[int, Tensor] = field(default_factory=dict)


def hide_padding(scores: Tensor, attention_mask: Tensor) -> Tensor:
    """Return scores whose padding columns are the lowest number there is; their softmax is the attention.

    Args:
        scores: ``(B, H, L, L)``.
        attention_mask: ``(B, L)``, 0 or False on padding.
    """
    padding = ~attention_mask.bool()[:, None, None, :]  # (B, 1, 1, L)
    return scores.masked_fill(padding, torch.finfo(scores.dtype).min)


def depth(config: Any) -> int:
    """Return how many layers a Hugging Face encoder has, as its ``hidden_states`` count them."""
    # One layer of ALBERT's configuration can stand for several.
    return int(config.num_hidden_layers) * int(getattr(config, "inner_group_num", 1))


def check_recordable(config: Any, owner: str) -> None:
    """Refuse a model whose layers are not understood.

    Raises:
        UserError: naming ``owner`` and the model's type.
    """
    if config.model_type not in _LAYER_CLASSES:
        raise UserError(
            f"{owner}: attention scores and hidden states of a {config.model_type} model can't be compared "
            f"layer by layer; supported are {', '.join(sorted(_LAYER_CLASSES))}"
        )


@contextlib.contextmanager
def recorded_layers(
    encoder: Any,
    *,
    hidden: Collection[int] = (),
    scores: Collection[int] = (),
    owner: str = "recorded_layers",
) -> Iterator[LayerStates]:
    """Record layers of the one forward that runs in the ``with`` block.

    Args:
        encoder: a Hugging Face encoder, or a model that holds one (``...ForSequenceClassification``).
        hidden: layers whose states are wanted, 0 for what the first layer reads.
        scores: layers, from 1, whose attention scores are wanted.
        owner: who asks, for messages.

    Raises:
        UserError: if the model's layers are not understood, or a layer doesn't exist.
    """
    check_recordable(encoder.config, owner)
    layers = depth(encoder.config)
    for wanted, lowest in ((hidden, 0), (scores, 1)):
        for layer in wanted:
            if not lowest <= layer <= layers:
                raise UserError(
                    f"{owner}: there is no layer {layer} in a {encoder.config.model_type} model of {layers}; "
                    f"choose {lowest} to {layers}"
                )
    recorder = _Recorder(frozenset(hidden), frozenset(scores))
    try:
        recorder.attach(encoder)
        yield recorder.states
    finally:
        recorder.detach()


class _Recorder:
    """Counts layers as they run, because ALBERT runs one and the same module many times."""

    def __init__(self, hidden: frozenset[int], scores: frozenset[int]) -> None:
        self.states = LayerStates()
        self._hidden, self._scores = hidden, scores
        self._started = 0
        self._projected: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def attach(self, encoder: Any) -> None:
        name = _LAYER_CLASSES[encoder.config.model_type]
        for layer in encoder.modules():
            if name not in {base.__name__ for base in type(layer).__mro__}:
                continue
            self._handles.append(layer.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._handles.append(layer.register_forward_hook(self._leave))
            if self._scores:
                self._attach_projections(layer)

    def _attach_projections(self, layer: nn.Module) -> None:
        for attention in layer.modules():
            for query, key in _PROJECTIONS:
                if hasattr(attention, query) and hasattr(attention, key):
                    size = int(attention.attention_head_size)  # type: ignore[arg-type]
                    for role, projection in (("query", query), ("key", key)):
                        module: nn.Module = getattr(attention, projection)
                        self._handles.append(module.register_forward_hook(self._projection_hook(role, size)))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, _layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._started += 1
        if self._started == 1 and 0 in self._hidden:
            self.states.hidden[0] = inputs[0] if inputs else named["hidden_states"]

    def _leave(self, _layer: nn.Module, _inputs: Any, output: Any) -> None:
        if self._started in self._hidden:
            self.states.hidden[self._started] = output if isinstance(output, Tensor) else output[0]

    def _projection_hook(self, role: str, head_size: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if self._started not in self._scores:
                return
            heads = output.view(*output.shape[:2], -1, head_size).transpose(1, 2)  # (B, H, L, d / H)
            self._projected[role] = heads
            if len(self._projected) == 2:
                keys = self._projected["key"].transpose(2, 3)  # (B, H, d / H, L)
                scaled = self._projected["query"] * head_size**-0.5  # (B, H, L, d / H)
                self.states.scores[self._started] = scaled @ keys  # (B, H, L, L)
                self._projected.clear()

        return hook
