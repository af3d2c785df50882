"""The checkpoint that a run of fairseq-train is going to start from, before fairseq reads it.

fairseq builds task and model first and loads weights later, without looking at what the checkpoint says of
its classes and of the stage it was trained in.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import II, DictConfig

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import task_state
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from fairseq_plugins.command_line.configs import PluginConfig

LAST = "checkpoint_last.pt"


@dataclass
class StartingPointConfig(PluginConfig):
    """What fairseq's own flags say of where to start."""

    continue_once: str | None = II("checkpoint.continue_once")
    finetune_from_model: str | None = II("checkpoint.finetune_from_model")
    no_last_checkpoints: bool = II("checkpoint.no_last_checkpoints")
    restore_file: str = II("checkpoint.restore_file")
    save_dir: str = II("checkpoint.save_dir")


def newest_whole(save_dir: Path) -> Path | None:
    """Return ``checkpoint_last.pt``, or else the whole checkpoint with the most updates; None for none.

    Args:
        save_dir: of the training.

    Raises:
        UserError: ``checkpoint_last.pt`` is damaged and there is no other.
    """
    last, damage = save_dir / LAST, None
    if last.is_file():
        try:
            read_checkpoint(last)
            return last
        except UserError as error:
            damage = error
    whole: dict[Path, tuple[int, str]] = {}
    for path in sorted(save_dir.glob("checkpoint*.pt")):
        try:
            state = read_checkpoint(path)
        except UserError:
            continue
        if "averaged" not in (state.get("extra_state") or {}):
            whole[path] = (number_of_updates(state), path.name)
    if damage is not None and not whole:
        raise UserError(
            f"{damage} No other checkpoint in {save_dir} is whole: remove the file to start anew, or give "
            "--restore-file"
        )
    return max(whole, key=whole.__getitem__, default=None)


def resumed_checkpoint(cfg: StartingPointConfig | DictConfig) -> Path | None:
    """Return the checkpoint of the save directory that a training goes on from; None for a first start.

    A ``checkpoint_last.pt`` that is missing is no sign of a first start: a kill during the first save, or an
    unlucky cleaning up, leaves others, which fairseq would write over.

    Raises:
        UserError: the last checkpoint is no file, or damaged like all others there.
    """
    last = Path(cfg.save_dir) / LAST
    if last.is_file():
        return newest_whole(last.parent)
    if os.path.lexists(last):  # found out otherwise when the training has ended and writes there
        raise UserError(f"{last} is no file; move it away, or give another --save-dir")
    starts_elsewhere = cfg.finetune_from_model or cfg.continue_once or cfg.no_last_checkpoints
    return None if starts_elsewhere else newest_whole(last.parent)


def starting_checkpoint(cfg: StartingPointConfig | DictConfig) -> Path | None:
    """Return the path of the checkpoint that fairseq will load first, None for a run that starts without.

    Raises:
        UserError: the last checkpoint of the save directory is no file, or damaged like all others there.
    """
    resumed = resumed_checkpoint(cfg) if cfg.restore_file == LAST else None
    other = cfg.finetune_from_model if cfg.restore_file == LAST else cfg.restore_file
    return resumed or (Path(other) if other and Path(other).is_file() else None)


def state_of_start(cfg: StartingPointConfig) -> Mapping[str, Any]:
    """Return the task state of the checkpoint that fairseq will load first; empty for a run without.

    Raises:
        UserError: if it cannot be read.
    """
    path = starting_checkpoint(cfg)
    return {} if path is None else task_state(read_checkpoint(path))


def check_same_classes(
    cfg: StartingPointConfig, earlier: Sequence[str], here: Sequence[str], name: str
) -> None:
    """Refuse to go on from a checkpoint whose logits stand for other classes, or for these in another order.

    fairseq would load its weights as long as there are as many classes.

    Args:
        cfg: of the task.
        earlier: classes of the checkpoint that fairseq will load first, in the order of the logits; none for
            scores.
        here: those of the data, likewise.
        name: what the message begins with.

    Raises:
        UserError: naming both, and what makes them equal.
    """
    if list(earlier) != list(here):
        first, second = (", ".join(labels) or "none, but scores" for labels in (earlier, here))
        raise UserError(
            f"{name}: {starting_checkpoint(cfg)} has the classes {first}, the data {second}; pass --labels "
            "in the order of the checkpoint, the data it was trained on, or another --save-dir. To take "
            "over its encoder alone, export it and pass the directory as --bert"
        )
