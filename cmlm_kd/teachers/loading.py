"""A fine-tuned C-MLM teacher, from a fairseq checkpoint or from a directory of its own.

The directory is an encoder in Hugging Face form (``config.json``, ``model.safetensors``, tokenizer files) with
``cmlm_head.safetensors`` (transform and output layer), ``dict.txt`` (the output vocabulary) and ``cmlm.json``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.checkpoints import read_checkpoint, model_settings
from cmlm_kd.databin import dictionary_hash
from cmlm_kd.errors import UserError
from cmlm_kd.prepare import load_manifest
from cmlm_kd.teachers.cmlm import ConditionalMaskedLM

_HEAD = "cmlm_head.safetensors"
_DESCRIPTION = "cmlm.json"
_PREFIX = "teacher."


def load_teacher(path: Path, data: Path) -> ConditionalMaskedLM:
    """Load a teacher for a prepared data-bin, in evaluation mode, weights in float32.

    Args:
        path: a checkpoint that ``fairseq-train --task cmlm`` wrote, or a directory of :func:`save_teacher`.
        data: the data-bin, whose target dictionary must be the teacher's output vocabulary.

    Raises:
        UserError: if there is no teacher, or its vocabulary is not that of the data.
    """
    teacher = _from_directory(path, data) if path.is_dir() else _from_checkpoint(path, data)
    return teacher.eval()


def save_teacher(teacher: ConditionalMaskedLM, data: Path, output: Path) -> None:
    """Write a teacher as a directory that needs neither fairseq nor the data-bin's teacher.

    Raises:
        UserError: if the directory is not empty.
    """
    from safetensors.torch import save_file

    if output.exists() and any(output.iterdir()):
        raise UserError(f"{output} is not empty; give a new directory")
    manifest = load_manifest(data)
    output.mkdir(parents=True, exist_ok=True)
    teacher.encoder.save_pretrained(output)  # type: ignore[operator]
    for file in sorted((data / "teacher").iterdir()):
        if file.name != "config.json":
            shutil.copy(file, output)
    head = {name: value for name, value in teacher.state_dict().items() if not name.startswith("encoder.")}
    save_file({name: value.contiguous() for name, value in head.items()}, output / _HEAD)
    shutil.copy(_target_dictionary(data), output / "dict.txt")
    description = {"transform": teacher.transform is not None, "tokenizer": manifest["tokenizer"]}
    (output / _DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def teacher_hash(teacher: ConditionalMaskedLM) -> str:
    """Return a hash of all weights, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(teacher.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _target_dictionary(data: Path) -> Path:
    return data / f"dict.{load_manifest(data)['target_language']}.txt"


def _from_checkpoint(path: Path, data: Path) -> ConditionalMaskedLM:
    from transformers import AutoConfig

    state = read_checkpoint(path)
    weights = {
        name.removeprefix(_PREFIX): value for name, value in state["model"].items() if name.startswith(_PREFIX)
    }
    if "projection.weight" not in weights:
        raise UserError(f"{path} holds no C-MLM teacher; give a checkpoint of 'fairseq-train --task cmlm'")
    config = AutoConfig.from_pretrained(model_settings(state).get("bert") or data / "teacher")
    _check_vocabulary(path, len(weights["projection.bias"]), data)
    return _fill(config, weights, any(name.startswith("transform.") for name in weights))


def _from_directory(path: Path, data: Path) -> ConditionalMaskedLM:
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    if not (path / _DESCRIPTION).is_file():
        raise UserError(
            f"{path} holds no C-MLM teacher (no {_DESCRIPTION}); give a checkpoint of 'fairseq-train --task cmlm' "
            "or a directory of 'cmlm-kd export --to teacher'"
        )
    if dictionary_hash(path / "dict.txt") != dictionary_hash(_target_dictionary(data)):
        raise UserError(
            f"{path}: its dictionary {dictionary_hash(path / 'dict.txt')[:8]} is not that of {data} "
            f"({dictionary_hash(_target_dictionary(data))[:8]}); fine-tune the teacher on these data"
        )
    head = load_file(path / _HEAD)
    description = json.loads((path / _DESCRIPTION).read_text(encoding="utf-8"))
    teacher = ConditionalMaskedLM.from_config(
        AutoConfig.from_pretrained(path), len(head["projection.bias"]), has_transform=description["transform"]
    )
    teacher.encoder.load_state_dict(
        AutoModel.from_pretrained(path, dtype=torch.float32).state_dict(), strict=False
    )
    teacher.load_state_dict(head, strict=False)
    return teacher


def _check_vocabulary(path: Path, size: int, data: Path) -> None:
    manifest = load_manifest(data)
    wanted = manifest["dictionaries"][manifest["target_language"]]["size"]
    if size != wanted:
        raise UserError(
            f"{path} predicts {size} entries, the target dictionary of {data} has {wanted}; "
            "fine-tune the teacher on these data"
        )


def _fill(config: Any, weights: dict[str, Tensor], has_transform: bool) -> ConditionalMaskedLM:
    teacher = ConditionalMaskedLM.from_config(config, len(weights["projection.bias"]), has_transform=has_transform)
    teacher.load_state_dict(weights)
    return teacher
