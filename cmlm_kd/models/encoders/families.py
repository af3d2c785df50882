"""The one table of what this library can do with each family of Hugging Face encoders.

A family is a ``config.model_type``. It is made of layers of one form and a masked-LM head of one form, and
what can be done with it follows from the two. A family that is not listed gives hidden states and, if its
head has a form of :data:`HEADS`, predictions; all else is refused by name or done the plain way.

Every claim is checked on a small model of every family (``tests/unit/models/encoders/test_families.py``) with
transformers :data:`CHECKED_WITH`. One fact about families stands elsewhere: where their positions begin, in
:mod:`cmlm_kd.tokenization.positions`, because data are prepared for an encoder without loading any model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from cmlm_kd.errors import UserError

CHECKED_WITH = "5.23.0"
"""The version of transformers whose models the table was checked on."""

GELU = "gelu"
"""Stands for the exact GELU in :attr:`Head.modules`, where a head calls the function and keeps no module."""


@dataclass(frozen=True)
class Layers:
    """A form of layers.

    Attributes:
        path: where they stand in the encoder, each a module of its own that can be taken out; empty where
            a layer is shared, or depends on its place.
        projections: the modules that make queries and keys, if attention scores are their scaled products
            and nothing more; None where relative positions or rotations come in.
        stand_alone: whether a layer maps hidden states and an additive mask to hidden states, so that the
            layers above one that is asked for can be passed over.
        exits: whether inputs may leave between two layers. It takes ``stand_alone``, position ids that the
            embeddings give out, and layers whose operations :mod:`cmlm_kd.early_exit.flops` can count.
        masked_last: whether the last layer can run at the masked positions only; it has BERT's modules.
    """

    path: str = ""
    projections: tuple[str, str] | None = None
    stand_alone: bool = False
    exits: bool = False
    masked_last: bool = False


@dataclass(frozen=True)
class Head:
    """A form of masked-LM heads.

    Attributes:
        modules: what stands between encoder and output layer, in order, as paths in the model or
            :data:`GELU`.
        split_output: whether the matrix of the output layer stands in two parts: the word embeddings,
            narrower than the states, and the columns that they lack.
        output: path of the output layer, where ``modules`` alone would not tell the form from others.
    """

    modules: tuple[str, ...]
    split_output: bool = False
    output: str = ""

    def is_in(self, model: nn.Module) -> bool:
        """Return whether a masked language model has a head of this form."""
        paths = [path for path in (*self.modules, self.output) if path and path != GELU]
        return all(_at(model, path) is not None for path in paths)

    def transform(self, model: nn.Module) -> nn.Module:
        """Return what stands between encoder and output layer, with the model's own weights."""
        parts = [nn.GELU() if path == GELU else _at(model, path) for path in self.modules]
        return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        model_type: as a ``config.json`` names it.
        layers: their form.
        head: the form of the masked-LM head; None for a family that is not listed.
    """

    model_type: str
    layers: Layers = Layers()
    head: Head | None = None


_BERT = Layers("encoder.layer", ("query", "key"), stand_alone=True, exits=True, masked_last=True)
_DISTILBERT = Layers("transformer.layer", ("q_lin", "k_lin"), stand_alone=True, exits=True)
_BOTTLENECKS = Layers("encoder.layer", ("query", "key"), stand_alone=True)  # operations are counted otherwise
_SHARED = Layers(projections=("query", "key"))  # one module runs again and again
_RELATIVE = Layers("encoder.layer")  # relative positions are given to each layer, and add to the scores
_ROTARY = Layers()  # rotations, and a kind of attention that depends on the layer's place

_BERT_HEAD = Head(("cls.predictions.transform",))
_ROBERTA_HEAD = Head(("lm_head.dense", GELU, "lm_head.layer_norm"))
_DISTILBERT_HEAD = Head(("vocab_transform", "activation", "vocab_layer_norm"))
_ELECTRA_HEAD = Head(("generator_predictions",))
_ALBERT_HEAD = Head(("predictions.dense", "predictions.activation", "predictions.LayerNorm"))
_MODERNBERT_HEAD = Head(("head",), output="decoder")
_DEBERTA_HEAD = Head(
    tuple(f"lm_predictions.lm_head.{part}" for part in ("dense", "transform_act_fn", "LayerNorm"))
)  # as DeBERTa is published; transformers' own, "legacy", is BERT's
_MOBILEBERT_HEAD = Head(("cls.predictions.transform",), split_output=True)

HEADS = (
    _BERT_HEAD,
    _ROBERTA_HEAD,
    _DISTILBERT_HEAD,
    _ELECTRA_HEAD,
    _ALBERT_HEAD,
    _MODERNBERT_HEAD,
    _DEBERTA_HEAD,
)
"""Forms by which the head of a family that is not listed is recognised, the first that fits."""

FAMILIES = {
    family.model_type: family
    for family in (
        Family("albert", _SHARED, _ALBERT_HEAD),
        Family("bert", _BERT, _BERT_HEAD),
        Family("camembert", _BERT, _ROBERTA_HEAD),
        Family("data2vec-text", _BERT, _ROBERTA_HEAD),
        Family("deberta", _RELATIVE, _BERT_HEAD),
        Family("deberta-v2", _RELATIVE, _BERT_HEAD),
        Family("distilbert", _DISTILBERT, _DISTILBERT_HEAD),
        Family("electra", _BERT, _ELECTRA_HEAD),
        Family("ernie", _BERT, _BERT_HEAD),
        Family("ib-bert", _BOTTLENECKS, _MOBILEBERT_HEAD),
        Family("mobilebert", _BOTTLENECKS, _MOBILEBERT_HEAD),
        Family("modernbert", _ROTARY, _MODERNBERT_HEAD),
        Family("mpnet", _RELATIVE, _ROBERTA_HEAD),
        Family("roberta", _BERT, _ROBERTA_HEAD),
        Family("xlm-roberta", _BERT, _ROBERTA_HEAD),
    )
}
"""Model type -> what is known of it."""


def family_of(config: Any) -> Family:
    """Return the row of a Hugging Face configuration; one that promises nothing, if there is none."""
    return FAMILIES.get(config.model_type, Family(config.model_type))


def names_of(able: Callable[[Layers], object]) -> str:
    """Return, for a message, the listed families whose layers can do something, by the alphabet."""
    return ", ".join(sorted(name for name, family in FAMILIES.items() if able(family.layers)))


def layers_path(encoder: Any) -> str:
    """Return where an encoder keeps its layers; empty where they can't be taken out.

    In a family that is not listed they are looked for in the usual places.
    """
    if encoder.config.model_type in FAMILIES:
        return family_of(encoder.config).layers.path
    usual = (_BERT.path, _DISTILBERT.path)
    return next((path for path in usual if _at(encoder, path) is not None), "")


def encoder_layers(encoder: Any) -> Sequence[nn.Module]:
    """Return the layers of an encoder, first to last; empty where :func:`layers_path` is."""
    path = layers_path(encoder)
    return _at(encoder, path) if path else ()


def head_of(model: Any) -> Head:
    """Return the form of a masked language model's head.

    Raises:
        UserError: if it has none of the known forms.
    """
    listed = family_of(model.config).head
    for head in HEADS if listed is None else (listed, _DEBERTA_HEAD):
        if head.is_in(model):
            return head
    raise UserError(
        f"{type(model).__name__} has a masked-LM head of an unknown form; supported are those of BERT, "
        "RoBERTa, XLM-R, CamemBERT, DistilBERT, ELECTRA, ALBERT, MPNet, DeBERTa and ModernBERT"
    )


def _at(module: Any, path: str) -> Any:
    """Return what stands at a path of attributes; None where there is nothing."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
