"""A training that has ended stays ended, and one that goes on knows how long it has not got better.

fairseq 0.12.3 compares ``--max-update`` after an update alone: the same command, given to a training that has
ended, makes one more, and one more each time, with a learning rate for which nothing was planned. How many
validations running have not improved is in no checkpoint, so that ``--patience`` begins anew after every
interruption. Both counts live in attributes of functions, where a second training of the same process finds
those of the first.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import fairseq.checkpoint_utils
from omegaconf import DictConfig

from cmlm_kd.fairseq_files.checkpoint_keys import PATIENCE, task_state
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from fairseq_plugins.training.starting_point import starting_checkpoint
from fairseq_plugins.training.task_origin import is_of_plugin

logger = logging.getLogger(__name__)

NO_EPOCH = -1
"""For ``--max-epoch``, of which 0 stands for no end."""


def remember_endings() -> None:
    """Let a training of one of the plug-in's tasks go on exactly as if it had not been interrupted."""
    load, save = fairseq.checkpoint_utils.load_checkpoint, fairseq.checkpoint_utils.save_checkpoint

    @functools.wraps(load)
    def load_remembering(cfg: DictConfig, trainer: Any, **passed: Any) -> Any:
        if not is_of_plugin(trainer.task):
            return load(cfg, trainer, **passed)
        _forget()
        start = starting_checkpoint(cfg)
        counts = {} if start is None else task_state(read_checkpoint(start)).get(PATIENCE, {})
        extra_state, epochs = load(cfg, trainer, **passed)
        # fairseq has restored the best value just where the checkpoint is of this very training.
        if hasattr(fairseq.checkpoint_utils.save_checkpoint, "best"):
            _restore(counts)
        ended = why_ended(trainer.get_num_updates(), trainer.cfg.optimization.max_update, cfg.patience)
        if extra_state is not None and ended is not None:
            logger.info(f"{cfg.save_dir}: this training has ended before: {ended}; nothing is left to do")
            trainer.cfg.optimization.max_epoch = NO_EPOCH
        return extra_state, epochs

    @functools.wraps(save)
    def save_remembering(cfg: DictConfig, trainer: Any, *passed: Any, **named: Any) -> Any:
        if is_of_plugin(trainer.task):
            trainer.task.state.merge_state_dict({PATIENCE: _found()})
        return save(cfg, trainer, *passed, **named)

    fairseq.checkpoint_utils.load_checkpoint = load_remembering
    fairseq.checkpoint_utils.save_checkpoint = save_remembering


def why_ended(updates: int, most: int, patience: int) -> str | None:
    """Return what a training has reached that ends it; None for one that goes on.

    Args:
        updates: that it has made.
        most: of them; 0 for no end.
        patience: how many validations running may be no better; 0 and less for any number.
    """
    if 0 < most <= updates:
        return f"it has {updates} updates, and --max-update is {most}"
    running = _found()["num_runs"]
    if 0 < patience <= running:
        return f"{running} validations running were no better, and --patience is {patience}"
    return None


# -- the counts, where fairseq keeps them ------------------------------------------------------------------


def _counters() -> list[Callable[..., Any]]:
    """Return fairseq's function that counts; started as a program, its module has another name."""
    modules = (sys.modules.get(name) for name in ("fairseq_cli.train", "__main__"))
    counters = (getattr(module, "should_stop_early", None) for module in modules)
    return [counter for counter in counters if counter is not None]


def _found() -> dict[str, Any]:
    states = [vars(counter) for counter in _counters()]
    found = next((state for state in states if "num_runs" in state), {})
    return {"best": found.get("best"), "num_runs": found.get("num_runs", 0)}


def _restore(counts: Mapping[str, Any]) -> None:
    for counter in _counters():
        vars(counter).update(counts)


def _forget() -> None:
    """Remove what an earlier training of this process left."""
    for function in (*_counters(), fairseq.checkpoint_utils.save_checkpoint):
        for name in ("best", "num_runs"):
            vars(function).pop(name, None)
