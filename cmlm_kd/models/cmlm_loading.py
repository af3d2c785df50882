"""A fine-tuned C-MLM teacher, from a fairseq checkpoint or from a directory of its own.

The directory is an encoder in Hugging Face form (``config.json``, ``model.safetensors``, tokenizer files)
with ``cmlm_head.safetensors`` (transform and output layer), ``dict.txt`` (the output vocabulary) and
``cmlm.json``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.data.translation.integrity import check_databin
from cmlm_kd.data.translation.manifest import PrepareManifest, TokenizerRecord, load_manifest
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.fairseq_files.checkpoint_keys import (
    BERT_CONFIG,
    CMLM_PREFIX,
    DICTIONARY_HASH,
    FOLD,
    TOKENIZER_HASH,
    check_same_entries,
    task_state,
    weights_of,
)
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.encoders.pretrained import check_finite, config_of, load_config, model_hash
from cmlm_kd.models.loading import understood
from cmlm_kd.system.checksums import FileRecord, check_files, describe_files
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.system.manifests import read_manifest, read_object, write_manifest
from cmlm_kd.system.transformers_reports import without_reports

_HEAD = "cmlm_head.safetensors"
_DICTIONARY = "dict.txt"
DESCRIPTION = "cmlm.json"
"""File of a teacher's directory that no other model has."""
_EXPORT_AGAIN = "write it again with 'cmlm-kd export --to teacher'"
_OTHER_DATA = "give the data-bin it was fine-tuned on, or fine-tune the teacher on these data"


@dataclass(frozen=True)
class TeacherDescription:
    """The contents of ``cmlm.json``.

    Attributes:
        transform: whether its head has a layer before the output layer.
        tokenizer: that of its data.
        checksums: every other file of the directory; those of earlier releases have none.
        fold: the part of its training set that it was kept from, such as ``0/5``; None where it has seen all.
    """

    transform: bool
    tokenizer: TokenizerRecord
    checksums: dict[str, FileRecord] = field(default_factory=dict)
    fold: str | None = None


def load_teacher(path: Path, data: Path) -> ConditionalMaskedLM:
    """Load a teacher for a prepared data-bin, in evaluation mode, weights in float32.

    Args:
        path: a checkpoint that ``fairseq-train --task cmlm`` wrote, or a directory of :func:`save_teacher`.
        data: the data-bin, whose target dictionary must be the teacher's output vocabulary.

    Raises:
        UserError: if there is no teacher, or its vocabulary is not that of the data.
    """
    manifest = load_manifest(data)
    check_databin(data, manifest, splits=())
    load = _from_directory if path.is_dir() else _from_checkpoint
    teacher = load(path, data, manifest)
    _check_tokens(teacher, path, data, manifest)
    check_finite(teacher, str(path))
    return teacher.eval()


def save_teacher(teacher: ConditionalMaskedLM, data: Path, output: Path, *, fold: str | None = None) -> None:
    """Write a teacher as a directory that needs neither fairseq nor the model it was fine-tuned from.

    The directory appears only when complete.

    Args:
        teacher: as :func:`load_teacher` returns it.
        data: the data-bin it was loaded for, whose tokenizer and target dictionary go with it.
        output: a new or empty directory.
        fold: see :class:`TeacherDescription`.

    Raises:
        UserError: if the directory is not empty.
    """
    from safetensors.torch import save_file

    check_new_directory(output)
    manifest = load_manifest(data)
    with directory_written_aside(output, manifest=DESCRIPTION) as partial:
        shutil.copytree(data / "teacher", partial, dirs_exist_ok=True)
        teacher.encoder.save_pretrained(partial)  # type: ignore[operator]
        head = {
            name: value.contiguous()
            for name, value in teacher.state_dict().items()
            if not name.startswith("encoder.")
        }
        save_file(head, partial / _HEAD)
        shutil.copy(manifest.target_dictionary(data), partial / _DICTIONARY)
        checksums = describe_files(partial)
        has_transform = teacher.transform is not None
        known = asdict(TeacherDescription(has_transform, manifest.tokenizer, checksums, fold))
        if fold is None:
            del known["fold"]
        write_manifest(partial / DESCRIPTION, known)


def fold_of_teacher(path: Path) -> str | None:
    """Return which part of its training set a teacher was kept from, as it says; None where it does not.

    Args:
        path: a checkpoint of any task, or a directory of :func:`save_teacher`; of another directory nothing
            is known.

    Raises:
        UserError: it is damaged.
    """
    if not path.is_dir():
        return task_state(read_checkpoint(path)).get(FOLD)
    if not (path / DESCRIPTION).is_file():
        return None
    return read_manifest(path / DESCRIPTION, TeacherDescription, _EXPORT_AGAIN).fold


def teacher_hash(teacher: ConditionalMaskedLM) -> str:
    """Return a hash of the encoder's configuration and of all weights, by name.

    A teacher has the same hash whether it comes from a checkpoint or from a directory.
    """
    return model_hash(teacher.encoder.config, teacher)  # type: ignore[union-attr]


def _from_checkpoint(path: Path, data: Path, manifest: PrepareManifest) -> ConditionalMaskedLM:
    state = read_checkpoint(path)
    weights = weights_of(state, CMLM_PREFIX)
    if "projection.weight" not in weights:
        raise UserError(f"{path} holds no C-MLM teacher; give a checkpoint of 'fairseq-train --task cmlm'")
    if DICTIONARY_HASH in task_state(state):
        check_dictionary(path, task_state(state)[DICTIONARY_HASH], manifest.target_dictionary(data))
    check_same_entries(
        str(path), task_state(state), str(data), {TOKENIZER_HASH: manifest.tokenizer.hash}, _OTHER_DATA
    )
    _check_vocabulary_size(path, len(weights["projection.bias"]), data, manifest)
    has_transform = any(name.startswith("transform.") for name in weights)
    return _fill(path, _checkpoint_config(state, path, data), weights, has_transform)


def _checkpoint_config(state: dict[str, Any], path: Path, data: Path) -> Any:
    """Return the encoder's configuration: the checkpoint's own, else that of the model it started from."""
    described = task_state(state).get(BERT_CONFIG)
    if described:
        with understood(str(path)):
            return config_of(json.loads(described))
    name = settings_of(state, "model").get("bert") or str(data / "teacher")
    try:
        return load_config(name)
    except UserError as error:
        raise UserError(
            f"{path} was fine-tuned from {name!r}, whose config.json can't be read "
            f"({error}); put that directory back"
        ) from error


def _from_directory(path: Path, data: Path, manifest: PrepareManifest) -> ConditionalMaskedLM:
    from safetensors.torch import load_file
    from transformers import AutoModel

    if not (path / DESCRIPTION).is_file():
        raise UserError(
            f"{path} holds no C-MLM teacher (no {DESCRIPTION}); give a checkpoint of "
            "'fairseq-train --task cmlm' or a directory of 'cmlm-kd export --to teacher'"
        )
    description = read_manifest(path / DESCRIPTION, TeacherDescription, _EXPORT_AGAIN)
    check_files(path, description.checksums, _EXPORT_AGAIN)
    check_dictionary(path, dictionary_hash(path / _DICTIONARY), manifest.target_dictionary(data))
    check_same_entries(
        str(path),
        {TOKENIZER_HASH: description.tokenizer.hash},
        str(data),
        {TOKENIZER_HASH: manifest.tokenizer.hash},
        _OTHER_DATA,
    )
    read_object(path / "config.json", _EXPORT_AGAIN)
    try:
        head = load_file(path / _HEAD)
        with without_reports():
            encoder = load_saved(AutoModel, path, dtype=torch.float32).state_dict()
        config = load_config(path)
        bias = head["projection.bias"]
    except UserError:
        raise
    except Exception as error:  # of many types, for a file that is empty, a list or cut off
        raise _damaged(path, first_line(error)[:200]) from error
    if bias.dim() != 1:
        raise _damaged(path, f"{_HEAD}: projection.bias has shape {list(bias.shape)}")
    weights = {f"encoder.{name}": value for name, value in encoder.items() if not name.startswith("pooler.")}
    return _fill(path, config, {**weights, **head}, description.transform)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}); {_EXPORT_AGAIN}")


def check_dictionary(path: Path, found: str, dictionary: Path) -> None:
    """Refuse a teacher whose output vocabulary is not the target dictionary of the data.

    Args:
        path: of the teacher.
        found: hash of its output vocabulary.
        dictionary: ``dict.LANG.txt`` of the data-bin.

    Raises:
        UserError: naming both hashes.
    """
    wanted = dictionary_hash(dictionary)
    if found != wanted:
        raise UserError(
            f"{path} was fine-tuned for dictionary {found[:8]}, the target dictionary of "
            f"{dictionary.parent} is {wanted[:8]}; {_OTHER_DATA}"
        )


def _check_vocabulary_size(path: Path, size: int, data: Path, manifest: PrepareManifest) -> None:
    wanted = manifest.dictionaries[manifest.target_language].size
    if size != wanted:
        raise UserError(
            f"{path} predicts {size} entries, the target dictionary of {data} has {wanted}; {_OTHER_DATA}"
        )


def _check_tokens(teacher: ConditionalMaskedLM, path: Path, data: Path, manifest: PrepareManifest) -> None:
    """Refuse data in the tokens of another tokenizer, as far as their number tells."""
    pieces = teacher.encoder.get_input_embeddings().num_embeddings  # type: ignore[union-attr,operator]
    for language in manifest.languages:
        largest = int(Vocabulary.load(data, language).teacher_ids.max())
        if largest >= pieces:
            raise UserError(
                f"{path} reads {pieces} tokens, {data} uses token {largest} in {language}; {_OTHER_DATA}"
            )


def _fill(path: Path, config: Any, weights: dict[str, Tensor], has_transform: bool) -> ConditionalMaskedLM:
    teacher = ConditionalMaskedLM.from_config(
        config, len(weights["projection.bias"]), has_transform=has_transform
    )
    try:
        teacher.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {path} don't fit the encoder's configuration "
            f"({' '.join(str(error).split())[:200]}); give the checkpoint or directory as it was written"
        ) from error
    return teacher


def verify_teacher(path: Path) -> TeacherDescription:
    """Compare every byte of an exported teacher with what was written, and return its description.

    Raises:
        UserError: naming the file that is missing or different.
    """
    description = read_manifest(path / DESCRIPTION, TeacherDescription, _EXPORT_AGAIN)
    check_files(path, description.checksums, _EXPORT_AGAIN)
    return description
