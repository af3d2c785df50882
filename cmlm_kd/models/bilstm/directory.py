"""A BiLSTM student as a directory: ``config.json``, ``model.safetensors`` and ``vocabulary.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cmlm_kd.errors import UserError, speaking_of
from cmlm_kd.models.bilstm.model import ARCHITECTURE, BiLSTMClassifier
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.manifests import read_object

FORMAT_VERSION = 1


def save_bilstm(directory: Path, model: BiLSTMClassifier) -> None:
    """Write a student; the directory appears when it is complete.

    Raises:
        UserError: if the directory is not empty.
    """
    check_new_directory(directory)
    state = model.state_of_architecture()
    config = {"architecture": ARCHITECTURE, "version": FORMAT_VERSION, **state["config"]}
    with directory_written_aside(directory) as aside:
        _write_json(aside / "config.json", config, indent=2)
        _write_json(aside / "vocabulary.json", state["inputs"], indent=0)
        weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, aside / "model.safetensors", metadata={"format": "pt"})


def is_bilstm(directory: Path) -> bool:
    """Return whether :func:`save_bilstm` wrote the directory."""
    return (directory / "vocabulary.json").is_file()


def load_bilstm(directory: Path) -> BiLSTMClassifier:
    """Read a student, in evaluation mode.

    Raises:
        UserError: if the directory holds no BiLSTM, one of a later format, or its files do not fit.
    """
    config = _read_json(directory / "config.json")
    kind, version = config.pop("architecture", None), config.pop("version", None)
    if kind != ARCHITECTURE or version != FORMAT_VERSION:
        raise UserError(
            f"{directory / 'config.json'} describes {kind!r}, format {version!r}; this version reads "
            f"{ARCHITECTURE!r}, format {FORMAT_VERSION}"
        )
    inputs = _read_json(directory / "vocabulary.json")
    try:
        with speaking_of(directory):
            model = BiLSTMClassifier.from_state({"config": config, "inputs": inputs})
        weights = load_file(directory / "model.safetensors")
        model.load_state_dict(weights)
    except (
        *(OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError, AttributeError),
    ) as error:
        raise UserError(
            f"{directory}: config.json, vocabulary.json and the weights do not belong together ({error}); "
            "save the student again"
        ) from error
    return model.eval()


def _write_json(path: Path, content: dict[str, Any], indent: int) -> None:
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    return read_object(path, "give a directory of a saved BiLSTM, or save the student again")
