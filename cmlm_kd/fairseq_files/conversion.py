"""What CTranslate2's converter of fairseq checkpoints cannot do, seen from a checkpoint's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmlm_kd.errors import UserError

_OBSTACLES = {
    "cross_self_attention": "--cross-self-attention, which the converter does not see: it would "
    "translate wrongly",
    "no_cross_attention": "--no-cross-attention, without the attention that the converter copies",
    "adaptive_softmax_cutoff": "--adaptive-softmax-cutoff, which is no matrix that the converter could copy",
    "no_token_positional_embeddings": "--no-token-positional-embeddings, which CTranslate2 has no form of",
}

_HELD_BY_ONNX = ("no_token_positional_embeddings", "tanh", "attention_heads")
"""Obstacles that are none to 'cmlm-kd export --to onnx' and huggingface."""

_ACTIVATIONS = ("relu", "gelu", "gelu_accurate", "gelu_fast", "swish")
"""Those that CTranslate2 has under fairseq's names."""

_EQUAL = ("normalize_before", "attention_heads", "embed_dim")
"""What must be the same in encoder and decoder."""


def check_convertible(settings: Mapping[str, Any], name: str) -> None:
    """Refuse a translation model that CTranslate2 4.8 converts wrongly, or ends at in an AttributeError.

    Args:
        settings: of the model, as its checkpoint has them.
        name: of the model, for the message.

    Raises:
        UserError: naming the flag that it was trained with, and what takes it.
    """
    found = {key: why for key, why in _OBSTACLES.items() if settings.get(key)}
    if settings.get("decoder_normalize_before") and settings.get("no_decoder_final_norm"):
        found["final_norm"] = "--no-decoder-final-norm, whose missing norm the converter asks for"
    activation = settings.get("activation_fn") or "relu"
    if activation not in _ACTIVATIONS:
        found[activation] = f"--activation-fn {activation}, which CTranslate2 has not"
    for setting in _EQUAL:
        pair = [settings.get(f"{side}_{setting}") for side in ("encoder", "decoder")]
        if None not in pair and pair[0] != pair[1]:  # older checkpoints do not say all of it
            flag = setting.replace("_", "-")
            found[setting] = (
                f"--encoder-{flag} {pair[0]} beside --decoder-{flag} {pair[1]}, which must be equal there"
            )
    inner, outer = settings.get("decoder_embed_dim"), settings.get("decoder_output_dim")
    if outer is not None and inner is not None and int(outer) != int(inner):
        found["output_dim"] = (
            f"--decoder-output-dim {outer} beside --decoder-embed-dim {inner}, whose projection is not copied"
        )
    if found:
        elsewhere = "export it to onnx or huggingface, " if set(found) <= set(_HELD_BY_ONNX) else ""
        raise UserError(
            f"{name} was trained with {next(iter(found.values()))}; {elsewhere}decode it with "
            "fairseq-generate, or train a student for CTranslate2 without that flag"
        )
