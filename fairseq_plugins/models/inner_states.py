"""Hidden states and attention scores of fairseq's Transformer translators, kept in their own forward.

Layers hand their output to hooks. Attention whose scores are asked for runs fairseq's own arithmetic, step by
step: fairseq otherwise gives its projections' weights to torch in one call, so that the scores before the
softmax are not seen from outside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import LayerDropModuleList, MultiheadAttention
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    CROSS_ATTENTION_SCORES,
    HIDDEN_STATES,
    LOGITS,
    PROBABILITIES,
    ModelDescription,
    Request,
)
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import symbols_hash


def describe_translator(
    model: nn.Module, name: str, source: Dictionary, target: Dictionary, *, learns: bool = True
) -> ModelDescription:
    """Return what a translator can give.

    Args:
        model: of fairseq.
        name: what messages call it; its kind is added.
        source, target: its dictionaries.
        learns: whether it is trained. A teacher, in evaluation mode and without gradients, drops no layers
            and computes nothing twice, however it was trained itself.
    """
    shown: Any = model
    vocabulary = len(target)
    entries = "/".join(symbols_hash(side.symbols[side.nspecial :]) for side in (source, target))
    predictions = frozenset({LOGITS, PROBABILITIES})
    name = f"{name} ({type(model).__name__})"
    halves = (getattr(shown, "encoder", None), getattr(shown, "decoder", None))
    if not (isinstance(halves[0], TransformerEncoderBase) and isinstance(halves[1], TransformerDecoderBase)):
        return ModelDescription(name, predictions, tokenizer=entries, vocabulary=vocabulary)
    encoder, decoder = (
        _describe(half, side, name, entries, learns=learns)
        for side, half in zip(("encoder", "decoder"), halves, strict=True)
    )
    cross = {CROSS_ATTENTION_SCORES} if _cross(halves[1]) and ATTENTION_SCORES in decoder.provides else set()
    return ModelDescription(
        name,
        predictions | decoder.provides | cross,
        layers=decoder.layers,
        hidden_size=decoder.hidden_size,
        heads=decoder.heads,
        tokenizer=entries,
        vocabulary=vocabulary,
        first_stands_for_all=False,
        encoder=encoder,
        obstacle=decoder.obstacle,
    )


def _describe(half: Any, side: str, name: str, entries: str, *, learns: bool) -> ModelDescription:
    """Return what an encoder or a decoder shows: nothing where layers are dropped at random."""
    drops = learns and isinstance(half.layers, LayerDropModuleList)
    if drops or not len(half.layers):
        obstacle = f"--{side}-layerdrop" if drops else ""
        return ModelDescription(
            name, frozenset(), layers=len(half.layers), tokenizer=entries, obstacle=obstacle
        )
    layers = list(half.layers)
    attention = layers[0].self_attn
    shown, obstacle = {HIDDEN_STATES}, ""
    if learns and getattr(half.cfg, "checkpoint_activations", False):
        # What an attention reads then has no gradient in the forward. Offloading implies it.
        offloads = getattr(half.cfg, "offload_activations", False)
        obstacle = ("--offload-activations and " if offloads else "") + "--checkpoint-activations"
    elif isinstance(attention, MultiheadAttention):
        shown.add(ATTENTION_SCORES)
    return ModelDescription(
        name,
        frozenset(shown),
        layers=len(layers),
        hidden_size=attention.embed_dim,
        heads=attention.num_heads,
        tokenizer=entries,
        first_stands_for_all=False,
        obstacle=obstacle,
    )


def _cross(decoder: Any) -> bool:
    return all(isinstance(layer.encoder_attn, MultiheadAttention) for layer in decoder.layers)


def check_padding(request: Request, left_pad_target: bool) -> None:
    """Refuse to read a decoder's attention where a position of padding sees nothing but padding.

    fairseq's own arithmetic, unlike torch's, gives no number for it, and the gradient none at all.

    Raises:
        UserError: naming the flags.
    """
    if left_pad_target and request.attention_scores:
        raise UserError(
            "--left-pad-target: attention of the decoder cannot be read where targets are padded on the "
            "left; leave the flag out, or pass --kd-attention-weight 0"
        )


@dataclass
class InnerStates:
    """What was kept of one forward pass, by half (``encoder``, ``decoder``) and layer."""

    states: dict[str, dict[int, Tensor]] = field(default_factory=lambda: {"encoder": {}, "decoder": {}})
    scores: dict[str, dict[int, Tensor]] = field(default_factory=lambda: {"encoder": {}, "decoder": {}})
    cross: dict[int, Tensor] = field(default_factory=dict)

    def put_into(self, output: ModelOutput, source_mask: Tensor) -> ModelOutput:
        """Return the output with what was kept beside it; ``source_mask (B, S)`` is 0 on padding."""
        fields = {name: getattr(output, name) for name in ("logits", "features", "weight", "bias")}
        encoder = ModelOutput(
            hidden_states=self.states["encoder"],
            attention_scores=self.scores["encoder"],
            attention_mask=source_mask,
        )
        return ModelOutput(
            **fields,
            hidden_states=self.states["decoder"],
            attention_scores=self.scores["decoder"],
            cross_attention_scores=self.cross,
            encoder=encoder,
        )


@contextlib.contextmanager
def inner_states(model: nn.Module, request: Request) -> Iterator[InnerStates]:
    """Keep what is asked for of the one forward that runs in the ``with`` block.

    Args:
        model: described by :func:`describe_translator` as giving it; perhaps wrapped for several workers.
        request: layers count from 1; 0 is what the first layer reads.
    """
    kept, translator = InnerStates(), _translator(model)
    halves = {"encoder": request.encoder or Request(), "decoder": request}
    with contextlib.ExitStack() as until_then:
        for name, wanted in halves.items():
            layers = list(getattr(translator, name).layers)
            for layer in wanted.hidden_states:
                until_then.callback(_keep_states(layers, layer, kept.states[name]).remove)
            for layer in wanted.attention_scores:
                attention = layers[layer - 1].self_attn
                until_then.enter_context(_keeping_scores(attention, layer, kept.scores[name]))
            for layer in wanted.cross_attention_scores:
                attention = layers[layer - 1].encoder_attn
                until_then.enter_context(_keeping_scores(attention, layer, kept.cross))
        yield kept


def _translator(model: nn.Module) -> Any:
    while not hasattr(model, "encoder") and hasattr(model, "module"):
        model = model.module  # type: ignore[assignment]
    return model


def _keep_states(layers: list[nn.Module], layer: int, kept: dict[int, Tensor]) -> Any:
    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        kept[layer] = inputs[0].transpose(0, 1)  # (S, B, d) -> (B, S, d)

    def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output  # a decoder's layer gives attention too
        kept[layer] = states.transpose(0, 1)  # (S, B, d) -> (B, S, d)

    if layer == 0:
        return layers[0].register_forward_pre_hook(before)
    return layers[layer - 1].register_forward_hook(after)


@contextlib.contextmanager
def _keeping_scores(attention: Any, layer: int, kept: dict[int, Tensor]) -> Iterator[None]:
    """Take the scores of an attention where it masks them, which it does not do in one call of torch's."""
    mask, skips = attention.apply_sparse_mask, attention.skip_embed_dim_check

    def keep(scores: Tensor, queries: int, keys: int, sentences: int) -> Tensor:
        kept[layer] = scores.view(sentences, attention.num_heads, queries, keys)  # (B, H, T, S)
        masked: Tensor = mask(scores.clone(), queries, keys, sentences)  # masked in place from here on
        return masked

    attention.apply_sparse_mask, attention.skip_embed_dim_check = keep, True
    try:
        yield
    finally:
        del attention.apply_sparse_mask  # the class has it
        attention.skip_embed_dim_check = skips
