"""fairseq's checkpoints, read safely and without fairseq."""

from __future__ import annotations

import argparse
import errno
import functools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.fairseq_files.plain_settings import check_plain_settings
from cmlm_kd.system.files import written_aside
from cmlm_kd.system.git_lfs import refuse_pointer

SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,  # the settings of models without a dataclass
    # --eval-bleu leaves arrays of n-gram counts in extra_state, other meters single numbers of NumPy.
    np.ndarray,
    np.dtype,
    *{type(np.dtype(name)) for name in ("int64", "int32", "float64", "float32")},
    (multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # NumPy 1's name
    (multiarray.scalar, "numpy._core.multiarray.scalar"),
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
]
"""Harmless classes that fairseq's checkpoints carry and torch's safe loading refuses."""


_SETTINGS = (Mapping, argparse.Namespace)
_PARTS: dict[str, tuple[type, ...]] = {
    "model": (Mapping,),
    "args": (argparse.Namespace,),
    "cfg": _SETTINGS,
    "optimizer_history": (list,),
    "task_state": (Mapping,),
    "extra_state": (Mapping,),
    "last_optimizer_state": (Mapping,),
}
"""What a checkpoint has; all but its weights may be missing."""
_KINDS: dict[type, str] = {Mapping: "a dictionary", argparse.Namespace: "a namespace", list: "a list"}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a fairseq checkpoint with torch's safe loading, which runs no code of the file.

    Tensors are memory-mapped. Those of the format before torch 1.6, in which published models still are, are
    read whole, and have no checksums.

    Raises:
        UserError: the file is missing, damaged, no checkpoint of fairseq, holds what safe loading refuses, or
            settings that are programs.
    """
    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise UserError(
            f"checkpoint {path} {problem}; fairseq-train writes checkpoint_best.pt to its --save-dir"
        )
    refuse_pointer(path)
    check_records(path)
    # torch forgets at the end all that it is told here, what the plug-in allowed for good included.
    allowed = torch.serialization.get_safe_globals()
    try:
        more = [item for item in SAFE_GLOBALS if item not in allowed]
        with torch.serialization.safe_globals(more), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused all the same
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_archive(path))
    except Exception as error:  # torch raises many types for a damaged file
        lines = [line.strip() for line in str(error).splitlines()]
        otherwise = first_line(error) if _is_archive(path) else "it is nothing that torch wrote"
        reason = next((line for line in lines if "GLOBAL" in line), otherwise)
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}; is the file complete?") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), Mapping):
        raise UserError(
            f"{path} is not a fairseq checkpoint: it has no 'model'; give a file that fairseq-train wrote"
        )
    check_parts(state, str(path))
    for part in ("args", "cfg"):
        check_plain_settings(state.get(part), str(path))
    return state


def check_records(path: Path) -> None:
    """Compare what a checkpoint holds with the checksums in it, which torch writes and never reads.

    Reads the whole file, once in a process; nothing is compared of what is no archive.

    Raises:
        UserError: naming the record.
    """
    if path.is_file() and _is_archive(path):
        found = path.stat()
        damaged = _damaged_record(path, found.st_size, found.st_mtime_ns)
        if damaged is not None:
            raise UserError(f"{path} is damaged: {damaged}; copy it again, or take another checkpoint")


@functools.lru_cache(maxsize=64)
def _damaged_record(path: Path, size: int, changed: int) -> str | None:
    """Return what is wrong with an archive; its size and time are those of the file that was looked at."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many types for what is no archive; torch says what it is
        if _is_of_machine(error):
            raise
        return None
    with archive:
        try:
            record = archive.testzip()
        except Exception as error:
            if _is_of_machine(error):
                raise
            return f"its archive cannot be read ({first_line(error)})"
    return None if record is None else f"{record} in it is not what its checksum says"


def _is_of_machine(error: Exception) -> bool:
    """Return whether reading failed, and not that a file leads to a place before its beginning."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def check_parts(state: Mapping[str, Any], subject: str) -> None:
    """Refuse a checkpoint one of whose parts is of another type than fairseq writes.

    Args:
        state: as torch or fairseq loads it; a part may be missing or none.
        subject: what it is, for the message.

    Raises:
        UserError: naming the part, its type, and the type that it ought to have.
    """
    parts = [(name, state.get(name), types) for name, types in _PARTS.items()]
    if isinstance(settings := state.get("cfg"), Mapping):
        parts += [(f"cfg.{name}", part, _SETTINGS) for name, part in settings.items() if name != "_name"]
    if isinstance(history := state.get("optimizer_history"), list):
        parts += [(f"optimizer_history[{place}]", part, (Mapping,)) for place, part in enumerate(history)]
    for name, part, types in parts:
        if (part is not None or name == "model") and not isinstance(part, types):
            raise UserError(
                f"{subject} is damaged: its {name} is of type {type(part).__name__}, and fairseq writes "
                f"{' or '.join(_KINDS[kind] for kind in types)}; take another checkpoint"
            )


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint, or whatever torch saves; equal states are equal bytes, whatever the file's name.

    The file appears only when complete.

    Raises:
        UserError: the operating system refuses.
    """
    # Given a path, torch puts its name into the archive.
    with written_aside(path) as partial, partial.open("wb") as file:
        torch.save(state, file)


def number_of_updates(state: Mapping[str, Any]) -> int:
    """Return after how many updates a checkpoint was written."""
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates", 0))


def settings_of(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the flags that a checkpoint was trained with; empty for one that doesn't say.

    Args:
        state: as :func:`read_checkpoint` returns it.
        part: of fairseq's configuration, such as ``model``, ``task``, ``criterion`` or ``checkpoint``.
    """
    settings = (state.get("cfg") or {}).get(part)
    return vars(settings) if isinstance(settings, argparse.Namespace) else dict(settings or {})


def count_parameters(state: Mapping[str, Any]) -> int:
    """Return how many numbers the model learned; tied weights count once, fairseq's markers do not."""
    sizes = {}
    for name, tensor in state["model"].items():
        is_marker = name.endswith((".version", "._float_tensor")) or not tensor.is_floating_point()
        if not is_marker:
            memory = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
            sizes[memory] = tensor.numel()
    return sum(sizes.values())
