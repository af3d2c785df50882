"""Whatever loads a checkpoint through fairseq looks at its settings before anything is built of them."""

from __future__ import annotations

import functools
from typing import Any

import fairseq.checkpoint_utils
from omegaconf import DictConfig, OmegaConf

from cmlm_kd.fairseq_files.plain_settings import check_plain_settings


def check_settings_of_checkpoints() -> None:
    """Let fairseq refuse checkpoints whose settings are programs."""
    load = fairseq.checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load)
    def load_checked(path: str, *passed: Any, **named: Any) -> Any:
        state = load(path, *passed, **named)
        for part in ("args", "cfg"):
            settings = state.get(part)
            if isinstance(settings, DictConfig):
                settings = OmegaConf.to_container(settings, resolve=False)
            check_plain_settings(settings, str(path))
        return state

    fairseq.checkpoint_utils.load_checkpoint_to_cpu = load_checked
