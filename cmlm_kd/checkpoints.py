"""fairseq checkpoints, read safely and without fairseq."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmlm_kd.errors import UserError

SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,  # the settings of models without a dataclass
    # Meters that averaged a NumPy number leave one in extra_state.
    np.dtype,
    np.dtypes.Float64DType,
    np._core.multiarray.scalar,
]
"""Harmless classes that fairseq's checkpoints carry and torch's safe loading refuses."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a fairseq checkpoint with torch's safe loading, which runs no code of the file.

    Tensors are memory-mapped: what is not used is not read.

    Raises:
        UserError: if the file is missing or is not a fairseq checkpoint.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; fairseq-train writes checkpoint_best.pt to its --save-dir")
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many types for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}; is the file complete?") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), Mapping):
        raise UserError(f"{path} is not a fairseq checkpoint: it has no 'model'; give a file that fairseq-train wrote")
    return state


def number_of_updates(state: Mapping[str, Any]) -> int:
    """Return after how many updates a checkpoint was written."""
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates", 0))


def model_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model flags a checkpoint was trained with."""
    model = (state.get("cfg") or {}).get("model")
    if isinstance(model, argparse.Namespace):
        return vars(model)
    return dict(model or {})
