"""The sizes of fairseq's Transformer, what of it others know nothing of, and its table of positions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from cmlm_kd.deployment.student import PAD, TranslationStudent
from cmlm_kd.errors import UserError

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
    "tanh": "tanh",
}
"""fairseq's name of an activation -> that of transformers."""

_FOREIGN = {
    "layernorm_embedding": "--layernorm-embedding, a normalisation of the embeddings",
    "adaptive_softmax_cutoff": "--adaptive-softmax-cutoff, whose output layer is no matrix",
    "adaptive_input": "--adaptive-input, whose embeddings are no matrix",
    "cross_self_attention": "--cross-self-attention, one attention over source and target",
    "no_cross_attention": "--no-cross-attention, a decoder that does not see the source",
    "no_decoder_final_norm": "--no-decoder-final-norm",
    "base_layers": "--base-layers, experts",
    "char_inputs": "--char-inputs",
}
_CTRANSLATE2 = "export it to ctranslate2, or decode it with fairseq-generate"
"""What to do with what CTranslate2 alone holds: a normalisation of the embeddings, and one activation."""

_LAYER = re.compile(
    r"(encoder|decoder)\.layers\.\d+\.("
    r"(self_attn|encoder_attn)\.(k_proj|v_proj|q_proj|out_proj)|"
    r"(self_attn|encoder_attn|final)_layer_norm|fc1|fc2)\.(weight|bias)"
)
_OUTSIDE = re.compile(
    r"(encoder|decoder)\.(embed_tokens\.weight|embed_positions\.weight|layer_norm\.(weight|bias))"
    r"|decoder\.output_projection\.weight"
)


@dataclass(frozen=True)
class TransformerSizes:
    """What decides the shape of a Transformer.

    Attributes:
        width: d, of the embeddings and of every layer's input.
        layers: of encoder and decoder.
        heads: likewise.
        inner: size between the two maps of a feed-forward layer, likewise.
        pre_norm: whether layers normalise their input (and the last one's output is normalised), instead of
            their output.
        activation: as transformers names it.
        scale: what embeddings are multiplied by.
        positions: rows of the tables of positions, of encoder and decoder.
        tied_output: whether the output layer is the decoder's embedding.
        tied_all: whether encoder and decoder share it, too.
    """

    width: int
    layers: tuple[int, int]
    heads: tuple[int, int]
    inner: tuple[int, int]
    pre_norm: bool
    activation: str
    scale: float
    positions: tuple[int, int]
    tied_output: bool
    tied_all: bool


def transformer_sizes(student: TranslationStudent, target: str, nearest: str) -> TransformerSizes:
    """Return the sizes of a student.

    Args:
        student: of any architecture.
        target: what it is to be exported to, for the message.
        nearest: what the message says to do instead.

    Raises:
        UserError: it is no Transformer, or has something that nothing but fairseq knows, naming the flag.
    """
    settings, weights = student.settings, student.weights
    if student.is_recurrent or "encoder.layers.0.fc1.weight" not in weights:
        raise UserError(
            f"{student.path} is a {student.architecture}, and {target} holds Transformers alone; {nearest}"
        )
    found = [why for name, why in _FOREIGN.items() if settings.get(name)]
    found += _of_both_sides(student)
    activation = str(settings.get("activation_fn") or "relu")
    if activation not in ACTIVATIONS:
        found.append(f"--activation-fn {activation}")
    left = sorted(name for name in weights if not (_LAYER.fullmatch(name) or _OUTSIDE.fullmatch(name)))
    if left and not found:
        found.append(f"weights that a plain Transformer has none of, such as {left[0]}")
    if found:
        normalised = bool(settings.get("layernorm_embedding"))
        if len(found) == normalised + (activation == "swish"):  # and nothing else
            nearest = _CTRANSLATE2
        else:
            nearest = "decode it with fairseq-generate"  # neither onnx nor huggingface holds it
        raise UserError(f"{student.path} was trained with {found[0]}, which {target} cannot hold; {nearest}")
    width = weights["encoder.embed_tokens.weight"].size(1)
    sides = ("encoder", "decoder")
    output, inputs = weights.get("decoder.output_projection.weight"), weights["decoder.embed_tokens.weight"]
    tied = output is None or torch.equal(output, inputs)
    source = weights["encoder.embed_tokens.weight"]
    same = student.source_symbols == student.target_symbols and torch.equal(source, inputs)
    return TransformerSizes(
        width,
        (_layers(weights, "encoder"), _layers(weights, "decoder")),
        (int(settings["encoder_attention_heads"]), int(settings["decoder_attention_heads"])),
        (
            weights["encoder.layers.0.fc1.weight"].size(0),
            weights["decoder.layers.0.fc1.weight"].size(0),
        ),
        bool(settings.get("encoder_normalize_before")),
        ACTIVATIONS[activation],
        1.0 if settings.get("no_scale_embedding") else math.sqrt(width),
        (
            _rows(student, sides[0], student.most_source_tokens),
            _rows(student, sides[1], student.most_target_tokens),
        ),
        tied,
        tied and same,
    )


def positions(student: TranslationStudent, side: str, rows: int) -> Tensor:
    """Return what is added to the embeddings at each position, ``(rows, d)``; 0 beyond a learnt table.

    Args:
        student: a Transformer.
        side: ``encoder`` or ``decoder``.
        rows: how many.
    """
    width = student.weights[f"{side}.embed_tokens.weight"].size(1)
    if student.settings.get("no_token_positional_embeddings"):
        return torch.zeros(rows, width)
    learnt = student.weights.get(f"{side}.embed_positions.weight")
    if learnt is None:
        return _sinusoids(rows, width)
    table = torch.zeros(rows, width)
    used = learnt[PAD + 1 :][:rows]  # fairseq counts positions from the one behind the padding's
    table[: len(used)] = used
    return table


def _sinusoids(rows: int, width: int) -> Tensor:
    """Return fairseq's sine waves (``modules/sinusoidal_positional_embedding.py``), ``(rows, d)``: sines in
    the first half, wavelengths from 2 pi to 10000 times that, the first row of position ``PAD + 1``."""
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1)))  # (d / 2,)
    angles = torch.arange(PAD + 1, PAD + 1 + rows, dtype=torch.float).unsqueeze(1) * rates  # (rows, d / 2)
    table = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.nn.functional.pad(table, (0, width - 2 * half))


def _of_both_sides(student: TranslationStudent) -> Iterable[str]:
    """Yield what differs between encoder and decoder, or inside the decoder, although it must not."""
    settings = student.settings
    for name in ("normalize_before", "embed_dim"):
        pair = settings.get(f"encoder_{name}"), settings.get(f"decoder_{name}")
        if pair[0] != pair[1]:
            flag = name.replace("_", "-")
            yield f"--encoder-{flag} {pair[0]} beside --decoder-{flag} {pair[1]}"
    inner = settings.get("decoder_embed_dim")
    for name in ("decoder_input_dim", "decoder_output_dim"):
        if settings.get(name) not in (None, inner):
            flag = name.replace("_", "-")
            yield f"--{flag} {settings[name]} beside --decoder-embed-dim {inner}"


def _layers(weights: Iterable[str], side: str) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith(f"{side}.layers.")})


def _rows(student: TranslationStudent, side: str, most: int) -> int:
    learnt = student.weights.get(f"{side}.embed_positions.weight")
    return most if learnt is None else min(most, len(learnt) - PAD - 1)
