"""The start of a FastBERT: a pre-trained encoder, or the end of an earlier stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.models.bert import load_encoder, student_config, take_over
from cmlm_kd.models.classifier import REQUIRED_TOKENS
from cmlm_kd.models.encoders.layers import check_layerwise
from cmlm_kd.models.fastbert.branch import BranchSettings, check_number_of_classes
from cmlm_kd.models.fastbert.model import ARCHITECTURE, FastBERTClassifier
from cmlm_kd.tokenization.loading import load_tokenizer


def start_fastbert(
    name_or_path: str,
    labels: Sequence[str],
    *,
    layers: int = 0,
    branches: BranchSettings | None = None,
    dropout: float | None = None,
    max_length: int = 0,
) -> FastBERTClassifier:
    """Make a model for the first stage: a pre-trained encoder under new classifiers.

    Args:
        name_or_path: Hugging Face directory or hub name of the encoder.
        labels: names of the classes, two or more.
        layers: how many of its layers to keep, the first ones; 0: all.
        branches: form of the classifiers.
        dropout: every dropout of the encoder, in [0, 1); None: as the encoder has it.
        max_length: longest input in tokens; 0: what the encoder takes.

    Raises:
        UserError: if nothing can be loaded, or the encoder or the classes do not suit.
    """
    check_number_of_classes(len(labels) or 1)
    source = load_encoder(name_or_path, ARCHITECTURE)
    check_layerwise(source.config, f"fastbert: {name_or_path!r}")
    config = student_config(source.config, name_or_path, labels, layers, dropout, owner=ARCHITECTURE)
    tokenizer = load_tokenizer(name_or_path, REQUIRED_TOKENS)
    model = FastBERTClassifier(config, tokenizer, branches, max_length)
    take_over(model.encoder, source)
    return model


def check_same_model(described: str, model: FastBERTClassifier, source: str) -> None:
    """Refuse to go on from a model of another shape; the task has looked at its classes.

    Args:
        described: what :meth:`FastBERTClassifier.state_of_architecture` said of the earlier model.
        model: the one that is to take over its weights.
        source: what messages call the earlier one.

    Raises:
        UserError: naming what differs, and the flags that make them equal.
    """
    document: dict[str, Any] = json.loads(described)
    branches = document[ARCHITECTURE]["branches"]
    shapes = {
        "--layers": (document.get("num_hidden_layers", document.get("n_layers")), len(model.layers)),
        "--branch-size": (branches["size"], asdict(model.settings)["size"]),
        "--branch-heads": (branches["heads"], asdict(model.settings)["heads"]),
    }
    for flag, (theirs, ours) in shapes.items():
        if theirs != ours:
            raise UserError(
                f"fastbert: {source} was trained with {flag} {theirs}, here it is {ours}; pass "
                f"{flag} {theirs}"
            )
