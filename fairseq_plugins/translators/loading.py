"""Translation models of fairseq's checkpoints, loaded without running anything that a checkpoint says."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, utils

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.fairseq_files.checkpoint_keys import DICTIONARY_HASH, SOURCE_DICTIONARY_HASH, task_state
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.models.encoders.pretrained import check_finite
from cmlm_kd.system.files import finish_interrupted

TASKS = ("translation", "translation_kd")
"""Tasks whose models translate from one language into one other."""


@dataclass(frozen=True)
class Ensemble:
    """Models that share their dictionaries, and what they were made of.

    Attributes:
        models: of fairseq, in evaluation mode and float32, on the device asked for.
        task: fairseq's, with both dictionaries.
        data: the data-bin of the dictionaries.
        hash: of the checkpoints' weights, the dictionaries and the language pair.
        architecture: of the first model.
    """

    models: Sequence[Any]
    task: Any
    data: Path
    hash: str
    architecture: str

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.task.cfg.source_lang, self.task.cfg.target_lang


def load_ensemble(paths: Sequence[str], data: Path | None = None, device: str = "cpu") -> Ensemble:
    """Load one checkpoint, or several as an ensemble.

    Args:
        paths: of the checkpoints.
        data: data-bin with their dictionaries; None for the one that the first was trained on.
        device: where the models go.

    Raises:
        UserError: a file that is missing, damaged, holds more than tensors and plain values, is of another
            task, has weights that are no finite numbers, or does not fit the dictionaries or the others.
    """
    states = [_read(Path(path)) for path in paths]
    databin = _databin(paths[0], states[0], data)
    _check_same_pair(paths, [_pair(databin, state) for state in states])
    for path, state in zip(paths, states, strict=True):
        _check_dictionaries(Path(path), state, databin, _pair(databin, state))
    overrides = {"data": str(databin), "soft_targets": None, "eval_bleu": False}
    try:
        with without_reports():
            models, _, task = checkpoint_utils.load_model_ensemble_and_task(
                list(paths), arg_overrides=overrides
            )
    except UserError:
        raise
    except Exception as error:  # an unknown architecture, weights of another size, ...
        raise UserError(
            f"{', '.join(paths)} cannot be loaded with the dictionaries of {databin}: {first_line(error)}; "
            "give the data-bin that it was trained on with --data"
        ) from error
    for path, model in zip(paths, models, strict=True):
        check_finite(model, path)
        model.float().eval().to(device)
        model.requires_grad_(False)
    dictionaries = [
        dictionary_hash(databin / f"dict.{language}.txt") for language in _pair(databin, states[0])
    ]
    name = settings_of(states[0], "model").get("arch") or settings_of(states[0], "model").get("_name")
    return Ensemble(models, task, databin, _hash(states, dictionaries), str(name))


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Keep fairseq from reporting every dictionary; a training that goes on after this has more to say."""
    logger = logging.getLogger("fairseq")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a task that translates."""
    state = read_checkpoint(path)
    task = settings_of(state, "task").get("_name") or getattr(state.get("args"), "task", None)
    if task not in TASKS:
        raise UserError(
            f"{path} is a checkpoint of task {task!r}, which does not translate; give one of "
            f"{' or '.join(TASKS)}"
        )
    return state


def _check_same_pair(paths: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    for path, pair in zip(paths, pairs, strict=True):
        if pair != pairs[0]:
            raise UserError(
                f"{path} translates {' to '.join(pair)}, {paths[0]} {' to '.join(pairs[0])}; an ensemble "
                "has one pair of languages"
            )


def _check_dictionaries(
    path: Path, state: Mapping[str, Any], databin: Path, languages: tuple[str, str]
) -> None:
    """Refuse a checkpoint that is known to have been trained with other dictionaries.

    They may be as large as these, so that fairseq would see nothing wrong and translate into other words.
    """
    for language, key in zip(languages, (SOURCE_DICTIONARY_HASH, DICTIONARY_HASH), strict=True):
        found = known_dictionary(path, state, language, key)
        own = dictionary_hash(databin / f"dict.{language}.txt")
        if found is not None and found != own:
            raise UserError(
                f"{path} was trained with dictionary {found[:12]} for {language}, {databin} has {own[:12]}: "
                "its ids stand for other entries; give the data that it was trained on, and in an ensemble "
                "models of the same dictionaries (if other data lie there by now, put the dictionaries that "
                "it was trained with beside it)"
            )


def known_dictionary(path: Path, state: Mapping[str, Any], language: str, key: str) -> str | None:
    """Return the hash of the dictionary that a checkpoint's entries are of, None where nothing says it.

    What they are says the checkpoint itself, if ``translation_kd`` wrote it, or ``dict.LANG.txt`` beside it
    or in the data-bin that it was trained on.

    Args:
        path: of the checkpoint.
        state: what it holds.
        language: of the dictionary.
        key: under which the checkpoint itself has the hash.
    """
    written = task_state(state).get(key)
    if written:
        return str(written)
    files = [place / f"dict.{language}.txt" for place in (path.parent, trained_on(state))]
    file = next((file for file in files if file.is_file()), None)
    return None if file is None else dictionary_hash(file)


def trained_on(state: Mapping[str, Any]) -> Path:
    """Return the (first) data-bin that a checkpoint names; perhaps it is gone."""
    return Path((utils.split_paths(str(task_settings(state).get("data") or "")) or [""])[0])


def task_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a checkpoint's task; older ones have those of all parts under ``args``."""
    return {**vars(state.get("args") or Namespace()), **settings_of(state, "task")}


def _languages(state: Mapping[str, Any]) -> tuple[str | None, str | None]:
    settings = task_settings(state)
    return settings.get("source_lang"), settings.get("target_lang")


def _pair(databin: Path, state: Mapping[str, Any]) -> tuple[str, str]:
    """Return the languages of a checkpoint, which older ones leave to the data-bin to say."""
    from fairseq.data.data_utils import infer_language_pair

    source, target = _languages(state)
    if source is None or target is None:
        source, target = infer_language_pair(str(databin))
    return str(source), str(target)


def _databin(path: str, state: Mapping[str, Any], data: Path | None) -> Path:
    """Return the data-bin that is named, or that a checkpoint was trained on."""
    data = trained_on(state) if data is None else data
    finish_interrupted(data)  # of 'cmlm-kd prepare'
    source, target = _languages(state)
    if source is None or target is None:
        wanted = sorted(data.glob("dict.*.txt"))
        missing = data / "dict.LANG.txt" if len(wanted) < 2 else None
    else:
        files = [data / f"dict.{language}.txt" for language in (source, target)]
        missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise UserError(
            f"{path} needs the dictionaries that it was trained with, and {missing} is not there; give its "
            "data-bin with --data"
        )
    return data


def _hash(states: Sequence[Mapping[str, Any]], dictionaries: Sequence[str]) -> str:
    """Return the hash of weights and dictionaries; the order of an ensemble counts."""
    digest = hashlib.sha256("".join(dictionaries).encode())
    for state in states:
        for name, tensor in sorted(state["model"].items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            raw = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor
            digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
