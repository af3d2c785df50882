"""One training at a time in a ``--save-dir``.

Two that were started by mistake, as a job that is submitted twice, write each other's checkpoints: fairseq
0.12.3 says nothing, and what the folder has in the end is of neither.
"""

from __future__ import annotations

import fcntl
import functools
import logging
from pathlib import Path
from typing import IO, Any

import fairseq.checkpoint_utils
from fairseq.file_io import PathManager
from omegaconf import DictConfig

from cmlm_kd.errors import UserError
from fairseq_plugins.training.task_origin import is_of_plugin

logger = logging.getLogger(__name__)

LOCK = ".training.lock"
"""A file in the folder, which says nothing; it is the lock on it that counts."""

_held: dict[Path, IO[bytes]] = {}
"""What this process keeps, until it ends."""


def allow_one_training() -> None:
    """Let a training of one of the plug-in's tasks keep its folder from others."""
    load = fairseq.checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_alone(cfg: DictConfig, trainer: Any, **passed: Any) -> Any:
        writes = not cfg.no_save and trainer.should_save_checkpoint_on_current_rank
        if writes and is_of_plugin(trainer.task) and not PathManager.path_requires_pathmanager(cfg.save_dir):
            keep_folder(Path(cfg.save_dir))
        return load(cfg, trainer, **passed)

    fairseq.checkpoint_utils.load_checkpoint = load_alone


def keep_folder(save_dir: Path) -> None:
    """Keep a folder from the trainings of other processes until this one ends.

    The lock is POSIX's, of a process: those that fairseq starts for its data do not keep it, however a
    training ends.

    Raises:
        UserError: a training of another process is writing there.
    """
    path = save_dir.resolve() / LOCK
    if path in _held:
        return
    file = path.open("ab")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # which one of the two is the system's choice
        file.close()
        raise UserError(
            f"another training is writing {save_dir}; wait for its end, or give another --save-dir"
        ) from error
    except OSError:
        logger.warning(f"{save_dir} is on a file system without locks; start no second training into it")
    _held[path] = file
