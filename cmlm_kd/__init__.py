"""cmlm-kd: move what BERT-like models know into small, fast models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmlm_kd.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from cmlm_kd.deployment.loaded import Loaded

__all__ = ["__version__", "load"]


def load(path: str | Path, *, device: str = "cpu", task: str | None = None) -> Loaded:
    """Load a model that translates or classifies; see :func:`cmlm_kd.deployment.loaded.load`."""
    from cmlm_kd.deployment import loaded

    return loaded.load(path, device=device, task=task)
