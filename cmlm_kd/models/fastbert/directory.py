"""A FastBERT as a directory: ``config.json``, ``model.safetensors`` and the tokenizer's files.

``config.json`` is the encoder's Hugging Face configuration with one more entry, ``fastbert``, and the
encoder's weights have the names Hugging Face gives them: ``AutoModel.from_pretrained`` reads the fine-tuned
encoder out of the same directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cmlm_kd.errors import UserError, first_line, speaking_of
from cmlm_kd.models.classifier import REQUIRED_TOKENS
from cmlm_kd.models.export_checksums import renew_checksum
from cmlm_kd.models.fastbert.branch import check_number_of_classes
from cmlm_kd.models.fastbert.model import ARCHITECTURE, FastBERTClassifier
from cmlm_kd.system.files import (
    check_new_directory,
    directory_written_aside,
    interruption_waits,
    written_aside,
)
from cmlm_kd.system.manifests import check_document, read_object
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.saving import write_tokenizer

FORMAT_VERSION = 1
_SAVE_AGAIN = "give the directory of a saved model, or save the model again"
_ENCODER = "encoder."
_CLASSIFIERS = "classifiers."


@dataclass(frozen=True)
class _Entry:
    """The entry ``fastbert`` of a ``config.json``; see :meth:`FastBERTClassifier.state_of_architecture`."""

    branches: dict[str, Any]
    stage: Any
    max_length: int
    speed: float | None = None
    signature: Any = None
    reads_pairs: bool | None = None
    calibration: dict[str, Any] | None = None


def save_fastbert(directory: Path, model: FastBERTClassifier) -> None:
    """Write a model; the directory appears when it is complete.

    Raises:
        UserError: if the directory is not empty.
    """
    check_new_directory(directory)
    document = json.loads(model.state_of_architecture())
    document["architectures"] = None
    document[ARCHITECTURE] = {"version": FORMAT_VERSION, **document[ARCHITECTURE]}
    inputs: Any = model.inputs
    with directory_written_aside(directory) as aside:
        write_tokenizer(inputs.tokenizer, aside, model.encoder.config)
        save_file(_named_as_hugging_face(model), aside / "model.safetensors", metadata={"format": "pt"})
        _write(aside / "config.json", document)


def is_fastbert(directory: Path) -> bool:
    """Return whether :func:`save_fastbert` wrote the directory."""
    path = directory / "config.json"
    return path.is_file() and ARCHITECTURE in _read(path)


def load_fastbert(directory: Path) -> FastBERTClassifier:
    """Read a model, weights in float32, in evaluation mode.

    Raises:
        UserError: if the directory holds no FastBERT, one of a later format, or its files do not fit.
    """
    path = directory / "config.json"
    document = _read(path)
    if ARCHITECTURE not in document:
        raise UserError(
            f"{directory} holds a {document.get('model_type', 'model')}, no FastBERT (its config.json has no "
            f"entry {ARCHITECTURE!r}); train one with --arch fastbert"
        )
    own = document[ARCHITECTURE]
    version = own.get("version") if isinstance(own, dict) else own
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: FastBERT of format {version!r}; this version reads format {FORMAT_VERSION}")
    check_document(path, own, _Entry, _SAVE_AGAIN)
    del own["version"]
    classes = document.get("id2label") or {}
    if not isinstance(classes, dict):
        raise UserError(f"{path}: id2label is {classes!r:.60}, no JSON object; {_SAVE_AGAIN}")
    with speaking_of(path):
        check_number_of_classes(len(classes))
    tokenizer = load_tokenizer(str(directory), REQUIRED_TOKENS)
    try:
        with speaking_of(path):
            model = FastBERTClassifier.from_state(json.dumps(document), tokenizer)
        weights = load_file(directory / "model.safetensors")
        model.load_state_dict(_named_as_own(weights, model.encoder.base_model_prefix))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{directory}: config.json and model.safetensors do not belong together ({first_line(error)}); "
            "save the model again"
        ) from error
    return model.for_inference()


def write_speed(directory: Path, speed: float, calibration: Mapping[str, Any]) -> None:
    """Note in a saved model the threshold to classify with, and how it was chosen.

    Args:
        directory: of the model.
        speed: threshold in [0, 1].
        calibration: what it was chosen by, as JSON values.

    Raises:
        UserError: if the directory holds no FastBERT.
    """
    document = _read(directory / "config.json")
    if ARCHITECTURE not in document:
        raise UserError(f"{directory} holds no FastBERT; give a directory that 'cmlm-kd export' wrote of one")
    document[ARCHITECTURE] |= {"speed": speed, "calibration": dict(calibration)}
    with interruption_waits():  # the two belong together
        with written_aside(directory / "config.json") as aside:
            _write(aside, document)
        renew_checksum(directory, "config.json")


def _named_as_hugging_face(model: FastBERTClassifier) -> dict[str, Tensor]:
    prefix = model.encoder.base_model_prefix + "."
    return {
        name.replace(_ENCODER, prefix, 1) if name.startswith(_ENCODER) else name: tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
    }


def _named_as_own(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name if name.startswith(_CLASSIFIERS) else _ENCODER + name.removeprefix(prefix + "."): tensor
        for name, tensor in weights.items()
    }


def _read(path: Path) -> dict[str, Any]:
    return read_object(path, _SAVE_AGAIN)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
