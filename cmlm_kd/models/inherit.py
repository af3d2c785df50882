"""Students that begin as chosen layers of their teacher, as DistilBERT does (Sanh et al., 2019, section 3).

Layers count from 0 here, as in the released ``scripts/extract_distilbert.py``, whose choice from twelve is
``0,2,4,7,9,11``. (Layer maps of criteria count from 1, because 0 is the embeddings there.) Two forms:

- :func:`distilbert_from_bert`: a ``DistilBertForMaskedLM``, which has no token types and no pooler;
- :func:`shallower`: the teacher's own architecture with fewer layers, what ``scripts/extract.py`` makes of a
  RoBERTa (DistilRoBERTa).

Both are ordinary transformers models: ``save_pretrained`` writes them, ``from_pretrained`` reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.families import layers_path

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, DistilBertForMaskedLM, PreTrainedModel

_LAYER_NAMES = {  # BERT's names inside a layer -> DistilBERT's
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}

_OTHER_NAMES = {  # outside of the layers
    "bert.embeddings.word_embeddings": "distilbert.embeddings.word_embeddings",
    "bert.embeddings.position_embeddings": "distilbert.embeddings.position_embeddings",
    "bert.embeddings.LayerNorm": "distilbert.embeddings.LayerNorm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",
}


def parse_layers(text: str, teacher_layers: int, owner: str) -> tuple[int, ...]:
    """Return the layers that a text such as ``0,2,4,7,9,11`` names.

    Args:
        text: numbers from 0, separated by commas.
        teacher_layers: depth of the teacher.
        owner: what the text was given to, for messages.

    Raises:
        UserError: if it can't be read, or :func:`check_layers` refuses it.
    """
    try:
        layers = tuple(int(part) for part in text.strip("[] ").split(","))
    except ValueError:
        raise UserError(
            f"{owner}: layers {text!r} cannot be read; give numbers from 0 to {teacher_layers - 1}, with "
            "commas between them, such as 0,2,4,7,9,11"
        ) from None
    check_layers(layers, teacher_layers, owner)
    return layers


def check_layers(layers: Sequence[int], teacher_layers: int, owner: str) -> None:
    """Refuse layers that a teacher doesn't have, more than it has, or in another order than its own.

    Raises:
        UserError: naming the layers and the teacher's depth.
    """
    place = f"{owner}: layers {','.join(map(str, layers))} of a teacher of {teacher_layers}"
    outside = [layer for layer in layers if not 0 <= layer < teacher_layers]
    if outside:
        raise UserError(
            f"{place}: there is no layer {outside[0]}; they count from 0 to {teacher_layers - 1} here"
        )
    if len(layers) > teacher_layers:
        raise UserError(
            f"{place}: the student would be deeper than its teacher; choose {teacher_layers} or fewer"
        )
    if not layers or list(layers) != sorted(set(layers)):
        raise UserError(f"{place}: name at least one, each once and in rising order")


def distilbert_from_bert(
    teacher: BertForMaskedLM,
    layers: Sequence[int],
    *,
    fold_token_types: bool = True,
    freeze_positions: bool = False,
) -> DistilBertForMaskedLM:
    """Return a DistilBERT that has the teacher's embeddings, chosen layers and masked-LM head.

    Args:
        teacher: is left as it is; the student's weights are copies of the teacher's type and on its device.
        layers: the teacher's layers, from 0 and rising.
        fold_token_types: add the embedding of the first token type to every position, so that the student's
            embeddings put out what the teacher's do for single texts. False drops it, as the released code
            does.
        freeze_positions: keep the copied position embeddings from being trained. The released configuration
            asks for fixed sine waves, over which the teacher's positions are then loaded; the paper and
            the released models have trained ones. It is no part of a saved model.

    Returns:
        the student in evaluation mode, with the dropout of the teacher.

    Raises:
        UserError: if the teacher is no BERT with a masked-LM head, or hasn't these layers.
    """
    from transformers import DistilBertForMaskedLM

    kind = teacher.config.model_type
    if kind != "bert" or not hasattr(teacher, "cls"):
        raise UserError(
            f"a DistilBERT starts from a BERT with a masked-LM head, the teacher is {type(teacher).__name__} "
            f"({kind}); take a student of the teacher's own architecture with fewer layers instead"
        )
    check_layers(layers, teacher.config.num_hidden_layers, "DistilBERT student")
    weights = _renamed(teacher.state_dict(), layers)
    if fold_token_types:
        types = teacher.bert.embeddings.token_type_embeddings.weight.detach()  # (types, d)
        name = "distilbert.embeddings.position_embeddings.weight"
        weights[name] = weights[name] + types[0]  # (positions, d)
    student = DistilBertForMaskedLM(_distilbert_config(teacher.config, len(layers)))
    student.load_state_dict(weights)
    student.to(dtype=teacher.dtype, device=teacher.device)  # type: ignore[call-arg]
    if freeze_positions:
        student.distilbert.embeddings.position_embeddings.weight.requires_grad_(False)
    student.eval()  # type: ignore[no-untyped-call]
    return student


def _renamed(weights: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights of a BERT under the names of a DistilBERT with these layers."""
    renamed = {}
    for ours, theirs in _OTHER_NAMES.items():
        for part in ("weight", "bias"):
            if f"{ours}.{part}" in weights:  # embeddings have no bias
                renamed[f"{theirs}.{part}"] = weights[f"{ours}.{part}"]
    for new, old in enumerate(layers):
        for ours, theirs in _LAYER_NAMES.items():
            for part in ("weight", "bias"):
                source = f"bert.encoder.layer.{old}.{ours}.{part}"
                renamed[f"distilbert.transformer.layer.{new}.{theirs}.{part}"] = weights[source]
    return renamed


def _distilbert_config(bert: Any, layers: int) -> Any:
    from transformers import DistilBertConfig

    return DistilBertConfig(
        vocab_size=bert.vocab_size,
        max_position_embeddings=bert.max_position_embeddings,
        sinusoidal_pos_embds=False,
        n_layers=layers,
        n_heads=bert.num_attention_heads,
        dim=bert.hidden_size,
        hidden_dim=bert.intermediate_size,
        dropout=bert.hidden_dropout_prob,
        attention_dropout=bert.attention_probs_dropout_prob,
        activation=bert.hidden_act,
        initializer_range=bert.initializer_range,
        pad_token_id=bert.pad_token_id,
        tie_word_embeddings=bert.tie_word_embeddings,
    )


def shallower(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Return a model of the teacher's class with chosen layers of it, and all the rest.

    Args:
        teacher: any transformers model that keeps its layers in ``encoder.layer`` (BERT, RoBERTa, XLM-R,
            CamemBERT, ELECTRA, DeBERTa, MPNet and others) or ``transformer.layer`` (DistilBERT); left as it
            is.
        layers: the teacher's layers, from 0 and rising.

    Returns:
        the student in evaluation mode; its weights are copies of the teacher's type and on its device.

    Raises:
        UserError: if its layers are kept elsewhere (ALBERT shares one), or it hasn't the ones named.
    """
    config = copy.deepcopy(teacher.config)
    check_layers(layers, config.num_hidden_layers, "student of fewer layers")
    path = layers_path(teacher.base_model)
    if not path:
        raise UserError(
            f"layers of a {config.model_type} model can't be taken out; teachers of another architecture, "
            "such as BERT or RoBERTa, give students of fewer layers"
        )
    config.num_hidden_layers = len(layers)
    student = type(teacher)(config)
    prefix = f"{teacher.base_model_prefix}.{path}."
    student.load_state_dict(_with_layers(teacher.state_dict(), prefix, layers))
    student.to(dtype=teacher.dtype, device=teacher.device)  # type: ignore[call-arg]
    student.eval()  # type: ignore[no-untyped-call]
    return student


def _with_layers(weights: Mapping[str, Tensor], prefix: str, layers: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights with layer ``layers[i]`` as layer i and no others; ``prefix`` stands before i."""
    number = {old: new for new, old in enumerate(layers)}
    kept = {}
    for name, value in weights.items():
        if not name.startswith(prefix):
            kept[name] = value
            continue
        old, rest = name.removeprefix(prefix).split(".", 1)
        if int(old) in number:
            kept[f"{prefix}{number[int(old)]}.{rest}"] = value
    return kept
