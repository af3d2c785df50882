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

    finetune_from_model: str | None = II("checkpoint.finetune_from_model")
    restore_file: str = II("checkpoint.restore_file")
    save_dir: str = II("checkpoint.save_dir")


def newest_whole(save_dir: Path) -> Path:
    """Return ``checkpoint_last.pt``, or where it is damaged the whole checkpoint with the most updates.

    Args:
        save_dir: of the training, with a ``checkpoint_last.pt``.

    Raises:
        UserError: that file is damaged and there is no other.
    """
    last = save_dir / LAST
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
    if not whole:
        raise UserError(
            f"{damage} No other checkpoint in {save_dir} is whole: remove the file to start anew, or give "
            "--restore-file"
        )
    return max(whole, key=whole.__getitem__)


def starting_checkpoint(cfg: StartingPointConfig | DictConfig) -> Path | None:
    """Return the path of the checkpoint that fairseq will load first, None for a run that starts without.

    Raises:
        UserError: the last checkpoint of the save directory is no file, or damaged like all others there.
    """
    if cfg.restore_file != LAST:
        candidates: list[str | None] = [cfg.restore_file]
    else:
        last = Path(cfg.save_dir) / LAST
        if last.is_file():
            return newest_whole(Path(cfg.save_dir))
        if os.path.lexists(last):  # found out otherwise when the training has ended and writes there
            raise UserError(f"{last} is no file; move it away, or give another --save-dir")
        candidates = [cfg.finetune_from_model]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


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
