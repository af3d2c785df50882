"""A checkpoint is used with the dictionaries that it was trained with, or refused.

fairseq loads a checkpoint of whatever dictionaries as long as they have as many entries, which those of two
data-bins often have: they are filled up to a multiple of 8. The model then reads and writes other words.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fairseq.checkpoint_utils
from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.fairseq_files.checkpoint_keys import (
    DICTIONARY_HASH,
    SOURCE_DICTIONARY_HASH,
    check_same_entries,
    task_state,
)
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.fairseq_files.databin import symbols_hash
from cmlm_kd.models.encoders.pretrained import check_finite
from fairseq_plugins.training.starting_point import StartingPointConfig, starting_checkpoint

_EMBEDDINGS = {"source": "encoder.embed_tokens.weight", "target": "decoder.embed_tokens.weight"}


class OtherEntries(UserError):
    """A checkpoint is of other dictionaries; the message does not name the file."""


def entries_of(task: FairseqTask) -> dict[str, str]:
    """Return the hashes of what a task's ids stand for, under the keys of checkpoints.

    Those that the task says itself (``entries``), else those of its dictionaries.
    """
    if hasattr(task, "entries"):
        return dict(task.entries)
    keys = {"source": SOURCE_DICTIONARY_HASH, "target": DICTIONARY_HASH}
    found = {side: _dictionary(task, side) for side in keys}
    return {
        keys[side]: symbols_hash(dictionary.symbols[dictionary.nspecial :])
        for side, dictionary in found.items()
        if dictionary is not None
    }


def check_start(cfg: StartingPointConfig | DictConfig, task: FairseqTask) -> None:
    """Look at the checkpoint that a training is going to start from, before fairseq loads it.

    Args:
        cfg: settings of checkpoints.
        task: of the training.

    Raises:
        UserError: it is of other dictionaries, or of dictionaries of another size.
    """
    path = starting_checkpoint(cfg)
    if path is None:
        return
    state, data = read_checkpoint(path), _data_of(task)
    remedy = "give the data that it was trained on, or another --save-dir to train anew"
    check_same_entries(str(path), task_state(state), data, entries_of(task), remedy)
    for side, name in _EMBEDDINGS.items():
        dictionary, weight = _dictionary(task, side), state["model"].get(name)
        if dictionary is not None and weight is not None and len(weight) != len(dictionary):
            raise UserError(
                f"{path} was trained with a {side} dictionary of {len(weight)} entries, that of {data} has "
                f"{len(dictionary)}; {remedy}"
            )


def compare_entries() -> None:
    """Let whatever loads a checkpoint through fairseq compare its dictionaries with those of the task."""
    load, take_state = fairseq.checkpoint_utils.load_model_ensemble_and_task, FairseqTask.load_state_dict

    @functools.wraps(load)
    def load_checked(filenames: Sequence[str], *passed: Any, **named: Any) -> Any:
        named_files = " or ".join(map(str, filenames))
        try:
            models, settings, task = load(filenames, *passed, **named)
        except OtherEntries as error:
            raise UserError(f"{named_files}: {error}") from None
        except RuntimeError as error:
            if "size mismatch" in str(error) and "embed_tokens" in str(error):
                raise UserError(
                    f"{named_files} is of dictionaries of another size than the data "
                    f"({_mismatch(error)}); give the data that it was trained on"
                ) from error
            if "Neither args nor cfg" in str(error):
                raise UserError(
                    f"{named_files} has no settings of its model ('cfg'); give a "
                    "checkpoint that fairseq-train wrote"
                ) from error
            if "in loading state_dict" in str(error):
                raise UserError(
                    f"{named_files} has other weights than its settings describe "
                    f"({' '.join(str(error).split())[:300]}); take another checkpoint"
                ) from error
            raise
        for path, model in zip(filenames, models, strict=False):  # a checkpoint in parts has more files
            check_finite(model, str(path))
        return models, settings, task

    @functools.wraps(take_state)
    def take_checked(self: FairseqTask, state_dict: Mapping[str, Any]) -> None:
        try:
            check_same_entries(
                "the checkpoint",
                state_dict,
                _data_of(self),
                entries_of(self),
                "give the data that it was trained on",
            )
        except UserError as error:
            raise OtherEntries(str(error)) from None
        take_state(self, state_dict)

    fairseq.checkpoint_utils.load_model_ensemble_and_task = load_checked
    FairseqTask.load_state_dict = take_checked


def _dictionary(task: FairseqTask, side: str) -> Dictionary | None:
    # Most tasks without a dictionary say None; that of HuBERT's pre-training has no such attribute.
    found = getattr(task, f"{side}_dictionary", None)
    return found if isinstance(found, Dictionary) else None


def _data_of(task: FairseqTask) -> str:
    data = str(getattr(task.cfg, "data", "") or "")
    return str(Path(data)) if data else "this task"


def _mismatch(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "embed_tokens" in line]
    return lines[0].rstrip(".") if lines else first_line(error)
