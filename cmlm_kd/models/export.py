"""Export: fairseq checkpoints as the directories that other programs load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError, speaking_of
from cmlm_kd.fairseq_files.checkpoint_keys import (
    BERT_CONFIG,
    MASKED_LM_PREFIX,
    VOCABULARY_HASH,
    check_same_entries,
    task_state,
    weights_of,
)
from cmlm_kd.fairseq_files.checkpoints import settings_of

if TYPE_CHECKING:
    from cmlm_kd.models.masked_lm import MaskedLM


def masked_lm_of_checkpoint(state: Mapping[str, Any]) -> MaskedLM:
    """Rebuild the model of a ``bert_masked_lm``, ``mobilebert`` or ``ib_bert`` checkpoint.

    Args:
        state: what :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns.

    Raises:
        UserError: if it is of another architecture, or its weights do not fit its configuration.
    """
    from cmlm_kd.fairseq_files.checkpoints import settings_of
    from cmlm_kd.models.loading import understood
    from cmlm_kd.models.masked_lm import MaskedLM

    description = task_state(state).get(BERT_CONFIG)
    weights = weights_of(state, MASKED_LM_PREFIX)
    if description is None or not weights:
        name = settings_of(state, "model").get("_name") or "another architecture"
        raise UserError(
            f"the checkpoint is one of {name}; only those of bert_masked_lm, mobilebert, ib_bert, "
            "bert_classifier, multitask_bert and fastbert have a Hugging Face form (a C-MLM teacher is "
            "exported with --to teacher, a BiLSTM with --to bilstm)"
        )
    with understood():
        model = MaskedLM.from_config(json.loads(description))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the checkpoint's weights do not fit its configuration ({reason}); take another checkpoint"
        ) from error
    return model


def export_to_huggingface(
    checkpoint: Path, directory: Path, tokenizer: str | None = None, task: str | None = None
) -> str:
    """Write the model of a checkpoint, with its tokenizer, in Hugging Face form.

    The directory appears only when complete. What a criterion trained beside a student is not part of it.

    Args:
        checkpoint: file that fairseq-train wrote, of ``bert_masked_lm``, ``mobilebert``, ``ib_bert`` or
            ``fastbert``; other classifiers and translators are exported by :mod:`cmlm_kd.deployment`.
        directory: what to write.
        tokenizer: Hugging Face directory or hub name; default: the one the model was trained with.
        task: refused, as none of these has several.

    Returns:
        what loads the directory: ``AutoModelForMaskedLM.from_pretrained``, and of a FastBERT,
        whose encoder ``AutoModel.from_pretrained`` loads, 'cmlm-kd classify'.

    Raises:
        UserError: if the checkpoint is of another architecture, the tokenizer cannot be loaded or does not
            fit, or the directory holds a model already.
    """
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
    from cmlm_kd.models.encoders.pretrained import check_finite
    from cmlm_kd.models.fastbert import model as fastbert
    from cmlm_kd.models.fastbert.directory import save_fastbert
    from cmlm_kd.models.loading import fastbert_of_checkpoint
    from cmlm_kd.system.files import check_new_directory, directory_written_aside
    from cmlm_kd.system.transformers_reports import without_reports
    from cmlm_kd.tokenization.saving import write_tokenizer

    check_new_directory(directory)
    state = read_checkpoint(checkpoint)
    name = settings_of(state, "model").get("_name")
    if task is not None:
        raise UserError(
            f"--task goes with checkpoints of multitask_bert, this is one of {name}; leave it out"
        )
    if name == fastbert.ARCHITECTURE:
        with speaking_of(checkpoint):
            early_exits = fastbert_of_checkpoint(state, tokenizer)
        check_finite(early_exits, str(checkpoint))
        save_fastbert(directory, early_exits)
        return "'cmlm-kd classify'"
    with speaking_of(checkpoint):
        model, loaded_tokenizer = _masked_lm_and_tokenizer(state, tokenizer)
    check_finite(model, str(checkpoint))
    with without_reports(), directory_written_aside(directory) as partial:
        model.save_pretrained(partial)
        write_tokenizer(loaded_tokenizer, partial, model.config)
    return "AutoModelForMaskedLM.from_pretrained"


def _masked_lm_and_tokenizer(state: Mapping[str, Any], tokenizer: str | None) -> tuple[Any, Any]:
    from cmlm_kd.tokenization.loading import vocabulary_hash
    from cmlm_kd.tokenization.pieces import PieceTokenizer
    from cmlm_kd.tokenization.positions import usable_positions

    model = masked_lm_of_checkpoint(state)
    loaded_tokenizer = PieceTokenizer.from_pretrained(tokenizer or tokenizer_of_checkpoint(state))
    model.check_tokenizer(loaded_tokenizer)
    check_vocabulary(state, vocabulary_hash(loaded_tokenizer.tokenizer), tokenizer or "its tokenizer")
    loaded_tokenizer.tokenizer.model_max_length = usable_positions(model.config)
    return model.model, loaded_tokenizer.tokenizer


def check_vocabulary(state: Mapping[str, Any], vocabulary: str, where: str) -> None:
    """Refuse a masked language model whose ids are not those of a tokenizer.

    Args:
        state: the checkpoint.
        vocabulary: :func:`cmlm_kd.tokenization.loading.vocabulary_hash` of the tokenizer.
        where: its name.

    Raises:
        UserError: naming both hashes.
    """
    check_same_entries(
        "the checkpoint",
        task_state(state),
        where,
        {VOCABULARY_HASH: vocabulary},
        "give the tokenizer that it was trained with",
    )


def export_bilstm(checkpoint: Path, directory: Path) -> None:
    """Write the BiLSTM of a checkpoint as a directory of its own, for ``cmlm-kd evaluate``.

    Raises:
        UserError: if the checkpoint is of another architecture, or the directory is not empty.
    """
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
    from cmlm_kd.models.bilstm.directory import save_bilstm
    from cmlm_kd.models.encoders.pretrained import check_finite
    from cmlm_kd.models.loading import bilstm_of_checkpoint
    from cmlm_kd.system.files import check_new_directory

    check_new_directory(directory)
    with speaking_of(checkpoint):
        model = bilstm_of_checkpoint(read_checkpoint(checkpoint))
    check_finite(model, str(checkpoint))
    save_bilstm(directory, model)


def export_teacher(checkpoint: Path, data: Path, directory: Path) -> None:
    """Write the C-MLM teacher of a ``bert_cmlm`` checkpoint as a directory of its own.

    Args:
        checkpoint: file that fairseq-train wrote.
        data: the data-bin it was trained on.
        directory: what to write; ``cmlm-kd dump --teacher`` takes it.

    Raises:
        UserError: if the checkpoint is none of ``bert_cmlm``, does not belong to the data, or the directory
            is not empty.
    """
    from cmlm_kd.models.cmlm_loading import fold_of_teacher, load_teacher, save_teacher
    from cmlm_kd.system.files import check_new_directory
    from cmlm_kd.system.transformers_reports import without_reports

    check_new_directory(directory)
    with without_reports():
        teacher = load_teacher(checkpoint, data)
        save_teacher(teacher, data, directory, fold=fold_of_teacher(checkpoint))


def tokenizer_of_checkpoint(state: Mapping[str, Any]) -> str:
    """Return the name of the tokenizer that a masked language model was trained with.

    Raises:
        UserError: if the checkpoint does not say it.
    """
    task = settings_of(state, "task")
    name = task.get("bert_tokenizer") or task.get("bert") or task.get("teacher")
    if not name:
        raise UserError("the checkpoint does not say which tokenizer it was trained with; give --tokenizer")
    return str(name)
