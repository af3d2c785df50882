"""A student over sentences, from a fairseq checkpoint or from a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmlm_kd.checkpoints import model_settings, read_checkpoint
from cmlm_kd.classification.prediction import Classifier
from cmlm_kd.errors import UserError
from cmlm_kd.students import bilstm
from cmlm_kd.students.bilstm_directory import is_bilstm, load_bilstm
from cmlm_kd.teachers.classifier import (
    REQUIRED_TOKENS,
    SequenceClassifier,
    classifier_of_config,
    load_classifier,
)
from cmlm_kd.tokenizer_loading import load_tokenizer

BERT_CONFIG = "bert_config"
"""Key of a checkpoint's task state: the Hugging Face configuration as JSON."""

WEIGHTS_PREFIX = "classifier."
"""What the plug-in's students over sentences put before the weights' names."""


def load_student(path: Path, tokenizer: str | None = None) -> Classifier:
    """Load a student in evaluation mode.

    Args:
        path: a checkpoint of ``fairseq-train --task classification_kd``, or what 'cmlm-kd export' wrote of
            one, or a Hugging Face directory.
        tokenizer: of a BERT student, where that of its ``--bert`` is gone.

    Raises:
        UserError: if it is none of these, or its weights do not fit its configuration.
    """
    if path.is_dir():
        if is_bilstm(path):
            return load_bilstm(path)
        return load_classifier(str(path), role="model")
    state = read_checkpoint(path)
    name = model_settings(state).get("_name") or model_settings(state).get("arch")
    if name == bilstm.ARCHITECTURE:
        return bilstm.from_checkpoint(state)
    if name == "bert_classifier":
        return bert_of_checkpoint(state, tokenizer)
    raise UserError(
        f"{path} is a checkpoint of {name or 'another architecture'}, no classifier; give one of "
        "'fairseq-train "
        "--task classification_kd'"
    )


def bert_of_checkpoint(state: Mapping[str, Any], tokenizer: str | None = None) -> SequenceClassifier:
    """Rebuild the student of a ``bert_classifier`` checkpoint, in evaluation mode.

    Args:
        state: what :func:`cmlm_kd.checkpoints.read_checkpoint` returns.
        tokenizer: Hugging Face directory or hub name; default: that of the model it started from.

    Raises:
        UserError: if the checkpoint does not describe its model, the tokenizer cannot be loaded, or the
            weights do not fit.
    """
    described = (state.get("task_state") or {}).get(BERT_CONFIG)
    if described is None:
        raise UserError(
            "the checkpoint does not describe its model; was it written by --task classification_kd?"
        )
    name = tokenizer or str(model_settings(state).get("bert") or "")
    max_length = int(((state.get("cfg") or {}).get("task") or {}).get("max_length") or 0)
    pieces = load_tokenizer(name, REQUIRED_TOKENS)
    model = classifier_of_config(json.loads(described), pieces, "student bert_classifier", max_length)
    weights = {name.removeprefix(WEIGHTS_PREFIX): tensor for name, tensor in state["model"].items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the checkpoint's weights do not fit its configuration: {reason}") from error
    return model.float().eval()
