"""Checkpoints that are whole or not there, and a training that goes on from the newest whole one.

fairseq writes a checkpoint aside, and then copies it in place over ``checkpoint_best.pt`` and
``checkpoint_last.pt``: a kill in the middle leaves half a file, which the same command cannot start from.
"""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fairseq.checkpoint_utils
import fairseq.file_io
from omegaconf import DictConfig, open_dict

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, write_checkpoint
from cmlm_kd.models.encoders.pretrained import check_finite
from cmlm_kd.system.files import written_aside
from fairseq_plugins.training.entries import check_start
from fairseq_plugins.training.starting_point import LAST, resumed_checkpoint, starting_checkpoint

logger = logging.getLogger(__name__)


class WholeCopies(fairseq.file_io.PathManager):  # type: ignore[misc]  # fairseq has no types
    """fairseq's access to files, whose copies appear only when complete."""

    @staticmethod
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        """Copy a checkpoint.

        Raises:
            UserError: the operating system refuses.
        """
        if fairseq.file_io.PathManager.path_requires_pathmanager(dst_path):
            return bool(fairseq.file_io.PathManager.copy(src_path, dst_path, overwrite))
        with written_aside(Path(dst_path)) as partial:
            shutil.copyfile(src_path, partial)
        return True


def keep_checkpoints_whole() -> None:
    """Let fairseq-train write and start from whole checkpoints only, of finite numbers.

    What else looks at the checkpoint of a start is to wrap before this does: it comes to know which one that
    is, and that it fits the data.
    """
    save, load = fairseq.checkpoint_utils.torch_persistent_save, fairseq.checkpoint_utils.load_checkpoint

    @functools.wraps(save)
    def save_whole(obj: Mapping[str, Any], filename: str, async_write: bool = False) -> None:
        if async_write or fairseq.file_io.PathManager.path_requires_pathmanager(filename):
            save(obj, filename, async_write)
        else:
            write_checkpoint(obj, Path(filename))

    @functools.wraps(load)
    def load_whole(cfg: DictConfig, trainer: Any, **passed: Any) -> Any:
        start = _starting_from_a_whole_one(cfg, trainer.checkpoint_suffix)
        check_start(start, trainer.task)
        result = load(start, trainer, **passed)
        path = starting_checkpoint(start)
        if path is not None:
            check_finite(trainer.get_model(), str(path))
        return result

    fairseq.checkpoint_utils.torch_persistent_save = save_whole
    fairseq.checkpoint_utils.load_checkpoint = load_whole
    fairseq.checkpoint_utils.PathManager = WholeCopies


def _starting_from_a_whole_one(cfg: DictConfig, suffix: str) -> DictConfig:
    """Return the settings with another file to start from where the last checkpoint is damaged or missing."""
    if cfg.restore_file != LAST or suffix:
        return cfg
    last, found = Path(cfg.save_dir) / LAST, resumed_checkpoint(cfg)
    if found is None or found == last:
        return cfg
    logger.warning(
        "%s is %s; the training goes on from %s, after %d updates; to train anew, give another --save-dir",
        *(last, "damaged" if last.is_file() else "missing", found),
        number_of_updates(read_checkpoint(found)),
    )
    changed = cfg.copy()
    with open_dict(changed):
        changed.restore_file = str(found)
        changed.finetune_from_model = None  # which counts for a first start alone
    return changed
