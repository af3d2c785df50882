"""Whatever loads a checkpoint through fairseq looks at its settings before anything is built of them."""

from __future__ import annotations

import errno
import functools
from pathlib import Path
from typing import Any

import fairseq.checkpoint_utils
from omegaconf import DictConfig, OmegaConf

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.fairseq_files.checkpoints import check_parts, check_records, read_checkpoint
from cmlm_kd.fairseq_files.plain_settings import check_plain_settings

_NEEDED = ("task", "model")
"""Groups of a checkpoint's settings that are read of each."""


def check_settings_of_checkpoints() -> None:
    """Let fairseq refuse checkpoints whose settings are programs, and name files that are none."""
    load = fairseq.checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load)
    def load_checked(path: str, *passed: Any, **named: Any) -> Any:
        check_records(Path(path))
        try:
            state = load(path, *passed, **named)
            parts = {part: state.get(part) for part in ("args", "cfg")}
        except UserError:
            raise
        except Exception as error:  # of torch and fairseq, of many types
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise  # torch seeks a place before the beginning of a file that was cut off
            read_checkpoint(Path(path))  # says in one line what is wrong with the file
            raise UserError(
                f"{path} is damaged ({type(error).__name__}: {first_line(error)}); take another checkpoint"
            ) from error
        check_parts(state, str(path))
        for settings in parts.values():
            if isinstance(settings, DictConfig):
                settings = OmegaConf.to_container(settings, resolve=False)
            check_plain_settings(settings, str(path))
        lacking = [
            name for name in _NEEDED if isinstance(parts["cfg"], DictConfig) and name not in parts["cfg"]
        ]
        if lacking:  # fairseq reads a text as YAML, of which a word is a key
            raise UserError(
                f"{path} is damaged: its cfg has no {' and no '.join(lacking)}; take another checkpoint"
            )
        return state

    fairseq.checkpoint_utils.load_checkpoint_to_cpu = load_checked
