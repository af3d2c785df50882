"""BERT students over sentences: an encoder, or its first layers, under a new head or the one it has."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import (
    REQUIRED_TOKENS,
    SequenceClassifier,
    class_names,
)
from cmlm_kd.models.encoders.pretrained import check_weights, load_pretrained, without_pooler
from cmlm_kd.system.transformers_reports import without_reports
from cmlm_kd.tokenization.loading import load_tokenizer


def start_classifier(
    name_or_path: str,
    labels: Sequence[str],
    *,
    layers: int = 0,
    dropout: float | None = None,
    max_length: int = 0,
    keep_head: bool = False,
) -> SequenceClassifier:
    """Make a student: an encoder, or its first layers, under a classification head.

    Args:
        name_or_path: Hugging Face directory or hub name of the encoder, such as the pre-trained model or a
            teacher.
        labels: names of the classes, empty for a score.
        layers: how many of its layers to keep, the first ones; 0: all.
        dropout: every dropout of the model, in [0, 1); None: as the model has it.
        max_length: longest input in tokens; 0: what the model takes.
        keep_head: start from the directory's own classification head, which must have these labels.

    Raises:
        UserError: if nothing can be loaded, or it has fewer layers or other labels.
    """
    from transformers import AutoModelForSequenceClassification

    owner = "bert_classifier"
    source = _load_with_head(name_or_path, labels, owner) if keep_head else load_encoder(name_or_path, owner)
    config = student_config(source.config, name_or_path, labels, layers, dropout, owner=owner)
    with without_reports():
        model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    take_over(model if keep_head else model.base_model, source)
    tokenizer = load_tokenizer(name_or_path, REQUIRED_TOKENS)
    return SequenceClassifier(model, tokenizer, "student bert_classifier", max_length)


def load_encoder(name_or_path: str, owner: str) -> Any:
    """Return a pre-trained encoder for a student to start from, in float32; it may lack a pooler.

    Args:
        name_or_path: Hugging Face directory or hub name.
        owner: the student's architecture, for messages.

    Raises:
        UserError: if it cannot be loaded, or lacks other weights.
    """
    from transformers import AutoModel

    encoder, missing = load_pretrained(AutoModel, name_or_path)
    check_weights(
        f"{owner}: {name_or_path!r}", without_pooler(missing), "; give a directory that save_pretrained wrote"
    )
    return encoder


def _load_with_head(name_or_path: str, labels: Sequence[str], owner: str) -> Any:
    """Return a whole classifier, which must have these labels, for a student to start from."""
    from transformers import AutoModelForSequenceClassification

    source, missing = load_pretrained(AutoModelForSequenceClassification, name_or_path)
    check_weights(
        f"{owner}: {name_or_path!r}",
        missing,
        "; give a directory that save_pretrained wrote, with a head, or leave out --keep-head",
    )
    if class_names(source.config) != tuple(labels):
        raise UserError(
            f"{owner}: --keep-head, but {name_or_path!r} has the classes {class_names(source.config)} and "
            f"the data {tuple(labels)}; leave out --keep-head for a new head"
        )
    return source


def student_config(
    source: Any,
    name: str,
    labels: Sequence[str],
    layers: int = 0,
    dropout: float | None = None,
    *,
    owner: str,
) -> Any:
    """Return the configuration of an encoder's first layers (0: all), with these classes.

    Raises:
        UserError: if the encoder ``name`` has fewer layers.
    """
    config = copy.deepcopy(source)
    if not 0 <= layers <= config.num_hidden_layers:
        raise UserError(
            f"{owner}: --layers is {layers}; {name!r} has {config.num_hidden_layers}; give "
            f"0 to {config.num_hidden_layers} (0 keeps them all)"
        )
    if hasattr(config, "reads_pairs"):
        config.reads_pairs = None  # is not known before it has been trained
    if layers:
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = list(config.layer_types)[:layers]
    if dropout is not None:
        for setting, value in vars(source).items():
            if "dropout" in setting and (isinstance(value, float) or value == 0 or "classifier" in setting):
                setattr(config, setting, dropout)
    names = list(labels) or ["score"]
    config.id2label = dict(enumerate(names))
    config.label2id = {label: index for index, label in enumerate(names)}
    config.problem_type = "single_label_classification" if labels else "regression"
    return config


def take_over(student: nn.Module, source: nn.Module) -> None:
    """Copy the weights of the layers that both have; what only the student has stays random."""
    found = source.state_dict()
    kept = {name: value for name, value in found.items() if name in student.state_dict()}
    missing = without_pooler(student.load_state_dict(kept, strict=False).missing_keys)
    if missing:
        raise ValueError(f"bert_classifier: no weights for {missing[:3]}")  # the layers have other names
