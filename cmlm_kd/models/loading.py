"""A student over sentences, from a fairseq checkpoint or from a directory of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from cmlm_kd.criteria.signature import signature_of_self_distillation
from cmlm_kd.errors import UserError, first_line, speaking_of
from cmlm_kd.fairseq_files.checkpoint_keys import (
    BERT_CONFIG,
    CLASSIFIER_PREFIX,
    INPUTS_HASH,
    PAIRS,
    task_state,
    weights_of,
)
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.models import multitask
from cmlm_kd.models.bilstm import model as bilstm
from cmlm_kd.models.bilstm.directory import is_bilstm, load_bilstm
from cmlm_kd.models.classifier import (
    REQUIRED_TOKENS,
    SequenceClassifier,
    classifier_of_config,
    load_classifier,
)
from cmlm_kd.models.encoders.pretrained import check_finite
from cmlm_kd.models.exported import export_record
from cmlm_kd.models.fastbert import model as fastbert
from cmlm_kd.models.fastbert.directory import is_fastbert, load_fastbert
from cmlm_kd.models.onnx_classifier import is_onnx_classifier, load_onnx_classifier
from cmlm_kd.models.prediction import Classifier
from cmlm_kd.tokenization.loading import encoding_hash, load_tokenizer

Model = TypeVar("Model", bound=nn.Module)


def load_student(path: Path, tokenizer: str | None = None, task: str | None = None) -> Classifier:
    """Load a student in evaluation mode.

    Args:
        path: a checkpoint of ``fairseq-train --task classification_kd`` or ``multitask_kd``, or what
            'cmlm-kd export' wrote of one, or a Hugging Face directory.
        tokenizer: of a checkpoint's BERT or FastBERT, where that of its ``--bert`` is gone.
        task: which of the tasks of a ``multitask_bert`` checkpoint; None where it has but one.

    Raises:
        UserError: if it is none of these, its weights do not fit its configuration, or are not all finite.
    """
    with speaking_of(path):
        model = _load_student(path, tokenizer, task)
    if isinstance(model, nn.Module):
        check_finite(model, str(path))
    student: Classifier = model
    return student


def _load_student(path: Path, tokenizer: str | None, task: str | None) -> Any:
    if path.is_dir():
        if is_onnx_classifier(path):
            return load_onnx_classifier(path)
        export_record(path)  # a directory that was changed since is refused
        if is_bilstm(path):
            return load_bilstm(path)
        if is_fastbert(path):
            return load_fastbert(path)
        return load_classifier(str(path), role="model")
    state = read_checkpoint(path)
    name = settings_of(state, "model").get("_name") or settings_of(state, "model").get("arch")
    if name == bilstm.ARCHITECTURE:
        return bilstm_of_checkpoint(state)
    if name == "bert_classifier":
        return bert_of_checkpoint(state, tokenizer)
    if name == fastbert.ARCHITECTURE:
        return fastbert_of_checkpoint(state, tokenizer)
    if name == multitask.ARCHITECTURE:
        return multitask_of_checkpoint(state, tokenizer).for_task(task)
    raise UserError(
        f"{path} is a checkpoint of {name or 'another architecture'}, no classifier; give one of "
        "'fairseq-train --task classification_kd' or 'multitask_kd'"
    )


@contextlib.contextmanager
def understood(subject: str = "the checkpoint") -> Iterator[None]:
    """Refuse a description of a model that its architecture cannot be built from, as damaged files have.

    Raises:
        UserError: naming what is missing or of another type.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"{subject} describes its model in a way that this version cannot read ({reason}); is the file "
            "damaged, or of a newer version?"
        ) from error


def bilstm_of_checkpoint(state: Mapping[str, Any]) -> bilstm.BiLSTMClassifier:
    """Rebuild the student of a ``bilstm_classifier`` checkpoint, in evaluation mode.

    Args:
        state: what :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns.

    Raises:
        UserError: if it is of another architecture, or its weights do not fit.
    """
    described = task_state(state).get(bilstm.ARCHITECTURE)
    if described is None:
        raise UserError(f"the checkpoint is none of {bilstm.ARCHITECTURE}: it does not carry a word list")
    with understood():
        model = bilstm.BiLSTMClassifier.from_state(described)
    return _with_weights(model, state)


def bert_of_checkpoint(state: Mapping[str, Any], tokenizer: str | None = None) -> SequenceClassifier:
    """Rebuild the student of a ``bert_classifier`` checkpoint, in evaluation mode.

    Args:
        state: what :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns.
        tokenizer: Hugging Face directory or hub name; default: that of the model it started from.

    Raises:
        UserError: if the checkpoint does not describe its model, the tokenizer cannot be loaded, or the
            weights do not fit.
    """
    described, loaded_tokenizer, max_length = _described(state, BERT_CONFIG, tokenizer)
    with understood():
        model = classifier_of_config(
            json.loads(described), loaded_tokenizer, "student bert_classifier", max_length
        )
    model.reads_pairs = task_state(state).get(PAIRS)
    return _with_weights(model, state)


def fastbert_of_checkpoint(
    state: Mapping[str, Any], tokenizer: str | None = None
) -> fastbert.FastBERTClassifier:
    """Rebuild the student of a ``fastbert`` checkpoint, in evaluation mode; see
    :func:`bert_of_checkpoint`."""
    described, loaded_tokenizer, _ = _described(state, fastbert.ARCHITECTURE, tokenizer)
    with understood():
        built = fastbert.FastBERTClassifier.from_state(described, loaded_tokenizer)
    model = _with_weights(built, state)
    model.signature = signature_of_self_distillation(state)
    return model.for_inference()


def load_early_exits(path: Path, tokenizer: str | None = None) -> fastbert.FastBERTClassifier:
    """Load a FastBERT in evaluation mode, from the directory that 'cmlm-kd export' wrote or a checkpoint.

    Args:
        path: of either.
        tokenizer: of a checkpoint whose ``--bert`` directory is gone.

    Raises:
        UserError: if it is of another architecture, cannot be read, or has weights that are not finite.
    """
    with speaking_of(path):
        model = load_fastbert(path) if path.is_dir() else _early_exits_of_checkpoint(path, tokenizer)
    check_finite(model, str(path))
    return model


def _early_exits_of_checkpoint(path: Path, tokenizer: str | None) -> fastbert.FastBERTClassifier:
    state = read_checkpoint(path)
    name = settings_of(state, "model").get("_name")
    if name != fastbert.ARCHITECTURE:
        raise UserError(
            f"{path} is a checkpoint of {name or 'another architecture'}, which has no early exits; give one "
            "of --arch fastbert, or the directory that 'cmlm-kd export' wrote of it"
        )
    return fastbert_of_checkpoint(state, tokenizer)


def multitask_of_checkpoint(
    state: Mapping[str, Any], tokenizer: str | None = None
) -> multitask.MultitaskClassifier:
    """Rebuild the student of a ``multitask_bert`` checkpoint, in evaluation mode; see
    :func:`bert_of_checkpoint`."""
    described, loaded_tokenizer, max_length = _described(state, multitask.ARCHITECTURE, tokenizer)
    with understood():
        model = multitask.MultitaskClassifier.from_state(described, loaded_tokenizer, max_length)
    return _with_weights(model, state)


def _described(state: Mapping[str, Any], key: str, tokenizer: str | None) -> tuple[str, Any, int]:
    """Return what a checkpoint says of its model, the tokenizer, and the longest input (0: any)."""
    own = task_state(state)
    described = own.get(key)
    if described is None:
        raise UserError(
            "the checkpoint does not describe its model; give one that --task classification_kd or "
            "multitask_kd wrote"
        )
    name = tokenizer or str(settings_of(state, "model").get("bert") or "")
    loaded_tokenizer = load_tokenizer(name, REQUIRED_TOKENS)
    if encoding_hash(loaded_tokenizer) != own.get(INPUTS_HASH, encoding_hash(loaded_tokenizer)):
        raise UserError(
            f"the checkpoint was trained with another tokenizer than that of {name!r}; give the directory it "
            "was trained with as --tokenizer"
        )
    max_length = int(settings_of(state, "task").get("max_length") or 0)
    return str(described), loaded_tokenizer, max_length


def _with_weights(model: Model, state: Mapping[str, Any]) -> Model:
    """Return the model with a checkpoint's weights, in float32 and evaluation mode."""
    try:
        model.load_state_dict(weights_of(state, CLASSIFIER_PREFIX))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the checkpoint's weights do not fit its configuration ({reason}); take another checkpoint"
        ) from error
    return model.float().eval()
