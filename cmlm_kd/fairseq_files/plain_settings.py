"""The settings of a checkpoint are data: none that fairseq would run as a program, or look up elsewhere.

For some architectures and optimisers fairseq 0.12.3 hands a setting to Python's ``eval``, and omegaconf
resolves ``${name:argument}`` when a setting is read. A checkpoint of others can have either, or sizes with
which no model can be built.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cmlm_kd.errors import UserError

EVALUATED = frozenset(
    [
        *("adam_betas", "adamax_betas", "adafactor_eps", "lamb_betas", "wer_args", "xformers_att_config"),
        *("left_pad_source", "left_pad_target", "adaptive_softmax_cutoff", "adaptive_input_cutoff"),
        *("encoder_layers", "decoder_layers", "encoder_attention", "decoder_attention", "self_attention"),
        *("encoder_kernel_size_list", "decoder_kernel_size_list", "encoder_glu", "decoder_glu"),
        *("weight_softmax", "character_filters", "conv_feature_layers", "override_encoder_layers"),
        *("conv_aggregator_layers", "feature_encoder_spec"),
        *("pretrained", "project_input", "gated_attention", "downsample"),
        *("pipeline_balance", "pipeline_devices", "pipeline_encoder_balance", "pipeline_encoder_devices"),
        *("pipeline_decoder_balance", "pipeline_decoder_devices"),
    ]
)
"""Names of the settings that fairseq evaluates; a test compares them with its source."""

_VALUES = (
    *(ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load, ast.UnaryOp, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Name),
)
"""What numbers, lists and dictionaries are made of, ``[(512, 3)] * 4`` and a bare word too."""

_MOST = {
    f"{side}_{name}": most
    for side in ("encoder", "decoder")
    for name, most in {
        "layers": 1000,
        "attention_heads": 1000,
        "embed_dim": 1 << 17,
        "ffn_embed_dim": 1 << 20,
    }.items()
}
"""Size -> more than any model has."""

_MAY_BE_NONE = "encoder_embed_dim"  # of a model in which HuBERT is the encoder

_LONGEST = 10_000
_LARGEST_FACTOR = 10_000
_DEEPEST = 40
_REFERENCE = re.compile(r"\$\{\s*[\w.\[\]@-]*\s*\}")
"""What refers to another setting, the innermost one where references are nested."""


def check_plain_settings(settings: Any, subject: str) -> None:
    """Refuse settings that are more than values, and values with which no model can be built.

    Args:
        settings: mappings and namespaces, as deep as they come.
        subject: whose they are, for the message.

    Raises:
        UserError: naming the setting and its value.
    """
    for name, value in _values(settings, "", 0, subject):
        last = name.rpartition(".")[2]
        text = value if isinstance(value, str) else ""
        if _is_resolved(text) or (last in EVALUATED and not _is_value(text)):
            raise UserError(
                f"{subject}: its setting {name} is {_shown(value)}, which is no plain value: whoever loads "
                "it would run it as a program; take a checkpoint from somebody you trust"
            )
        allowed = allowed_instead(last, value)
        if allowed is not None:
            raise UserError(
                f"{subject}: its setting {name} is {_shown(value)}; it must be {allowed}; is the file "
                "damaged? Take another checkpoint"
            )


def allowed_instead(name: str, value: Any) -> str | None:
    """Return what a setting of a model must be, where a value is of another type or size; None for others.

    Args:
        name: of the setting, as fairseq's flags and checkpoints have it.
        value: of it.
    """
    if isinstance(value, str) and ("${" in value or name in EVALUATED):  # refers to another, or is a list
        return None
    if name in _MOST and not (value is None and name == _MAY_BE_NONE):
        fits = isinstance(value, int) and 0 <= value <= _MOST[name]
        return None if fits else f"a whole number from 0 to {_MOST[name]:,}"
    if name.endswith("dropout") and value is not None:
        fits = isinstance(value, int | float) and 0 <= value <= 1
        return None if fits else "a number from 0 to 1"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _values(settings: Any, name: str, depth: int, subject: str) -> Iterator[tuple[str, Any]]:
    """Yield every value in settings under its dotted name; a list, and then its items under the list's."""
    if depth > _DEEPEST:
        raise UserError(
            f"{subject}: its settings are nested too deeply at {name[:60]}; take another checkpoint"
        )
    if isinstance(settings, argparse.Namespace):
        settings = vars(settings)
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _values(value, f"{name}.{key}" if name else str(key), depth + 1, subject)
        return
    yield name, settings
    if isinstance(settings, list | tuple):
        for value in settings:
            yield from _values(value, name, depth + 1, subject)


def _is_resolved(text: str) -> bool:
    """Return whether omegaconf would look a text up elsewhere: ``${oc.env:HOME}``, ``${oc.${part}:HOME}``."""
    found = 1
    while found:
        text, found = _REFERENCE.subn("", text)
    return "${" in text


def _is_value(text: str) -> bool:
    """Return whether a text is harmless to evaluate: no call, no attribute, no endless list."""
    if len(text) > _LONGEST:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text.strip() or "None", mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # nor can it be evaluated
    products = [node for node in nodes if _is_product(node)]
    return all(isinstance(node, _VALUES) for node in nodes) and all(map(_is_small, products))


def _is_product(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)


def _is_small(product: ast.AST) -> bool:
    """Return whether a product has no other in it, and no large number."""
    inside = list(ast.walk(product))
    numbers = [node.value for node in inside if isinstance(node, ast.Constant)]
    large = any(isinstance(number, int) and abs(number) > _LARGEST_FACTOR for number in numbers)
    return not large and sum(map(_is_product, inside)) == 1
