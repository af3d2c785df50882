"""Ask a translator once about every pair of a training set, and write what :mod:`state_cache` reads."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from cmlm_kd.api.needs import Request
from cmlm_kd.api.next_tokens import Pairs
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.system.environment import describe_environment
from cmlm_kd.system.files import check_new_directory, check_room, directory_written_aside
from cmlm_kd.system.manifests import write_manifest
from cmlm_kd.teachers.cached_arrays import CACHE_MANIFEST, OWNER
from cmlm_kd.teachers.online import OnlineTeacher
from cmlm_kd.teachers.state_files import (
    SIDES,
    TEACHER_STATES,
    StatesIdentity,
    cells_of,
    dtype_of,
    named_arrays,
    real_positions,
    sides_of,
    spans_of,
)
from cmlm_kd.teachers.teacher_forcing import batches_by_length

logger = logging.getLogger(__name__)

MAX_TOKENS = 4096
"""Positions of a batch, padding included."""
_READ_AT_ONCE = 4096
_LESS = (
    "name fewer layers in --kd-encoder-layer-map and --kd-decoder-layer-map, pass --kd-attention-weight 0 "
    "--kd-cross-attention-weight 0, make room, or leave out --teacher-cache"
)


@dataclass(frozen=True)
class TrainingPairs:
    """A training set, as the teacher is asked about it.

    Attributes:
        digest: hash of all pairs, in order.
        lengths: side -> ``(pairs,)`` tokens.
        readable: ``(pairs,)``, which of them the teacher reads.
        collate: rows -> their batch, as the student gets it.
    """

    digest: str
    lengths: Mapping[str, NDArray[np.int32]]
    readable: NDArray[np.bool_]
    collate: Callable[[Sequence[int]], TeacherBatch]

    @classmethod
    def of(
        cls,
        pairs: Iterable[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]],
        readable: Callable[[Pairs], NDArray[np.bool_]],
        collate: Callable[[Sequence[int]], TeacherBatch],
    ) -> TrainingPairs:
        """Read a training set once.

        Args:
            pairs: source and target of each row, without padding.
            readable: :meth:`NextTokenTeacher.readable`.
            collate: see the class.
        """
        digest, found = hashlib.sha256(), []
        lengths: tuple[list[NDArray[np.int64]], ...] = ([], [])
        remaining = iter(pairs)
        while block := list(itertools.islice(remaining, _READ_AT_ONCE)):
            sides = Pairs(*zip(*block, strict=True))
            found.append(readable(sides))
            for side, sizes, known in zip(
                (sides.sources, sides.targets), sides.lengths, lengths, strict=True
            ):
                known.append(sizes)
                digest.update(sizes.tobytes())  # the same tokens may be cut into other sentences
                digest.update(np.concatenate(side).astype(np.int64).tobytes())
        both = {
            side: np.concatenate(known).astype(np.int32) for side, known in zip(SIDES, lengths, strict=True)
        }
        return cls(digest.hexdigest(), both, np.concatenate(found), collate)


def write_states(
    path: Path, teacher: OnlineTeacher, pairs: TrainingPairs, request: Request, identity: StatesIdentity
) -> None:
    """Ask a teacher about all pairs and write what it gives.

    Args:
        path: a directory that is not there, or empty.
        teacher: who is asked.
        pairs: about what.
        request: what is kept.
        identity: of the same.

    Raises:
        UserError: the directory holds something else, the disk has no room, the teacher reads no pair, or
            gives what is no finite number.
    """
    check_new_directory(path, "is not empty and no cache of a teacher")
    asked = np.flatnonzero(pairs.readable)  # (asked,)
    if not len(asked):
        raise UserError(
            f"{OWNER}teacher {teacher.teacher.name} reads none of {len(pairs.readable)} pairs, which are "
            "longer than its positions; take another teacher"
        )
    # Inside: another process that wants the same learns it now, and not after all the work.
    with directory_written_aside(path, manifest=CACHE_MANIFEST) as partial:
        files = _write_arrays(partial, path, teacher, pairs, asked, request)
        manifest = {
            "format": TEACHER_STATES.name,
            "version": TEACHER_STATES.version,
            "identity": asdict(identity),
            "teacher": teacher.teacher.name,
            "files": files,
            "environment": describe_environment(),
        }
        write_manifest(partial / CACHE_MANIFEST, manifest)


def _write_arrays(
    folder: Path,
    path: Path,
    teacher: OnlineTeacher,
    pairs: TrainingPairs,
    asked: NDArray[np.int64],
    request: Request,
) -> dict[str, dict[str, Any]]:
    """Write all arrays; returns what the manifest says of each."""
    sources, targets = (pairs.lengths[side][asked] for side in SIDES)
    batches = [asked[batch] for batch in batches_by_length(sources, targets, MAX_TOKENS)]
    order: list[NDArray[np.int64]] = []
    arrays: dict[str, _GrowingArray] = {}
    with (
        contextlib.ExitStack() as opened,
        tqdm(total=len(asked), unit=" pairs", desc="asking the teacher", disable=None) as progress,
    ):
        for rows in batches:
            batch = pairs.collate(rows.tolist())
            found = named_arrays(teacher.signal(batch, request))
            if not arrays:
                shapes = _shapes(found, pairs.lengths, asked)
                _check_size(path, shapes, len(asked))
                for name, shape in shapes.items():
                    arrays[name] = opened.enter_context(_GrowingArray(folder / name, dtype_of(name), shape))
            for name, padded in found.items():
                _append(arrays[name], padded, batch, teacher.teacher.name)
            order.append(batch.rows.numpy())  # a batch may have them in another order than asked for
            progress.update(len(rows))
    small: dict[str, NDArray[Any]] = {"order.npy": np.concatenate(order)}
    small.update({f"{side}-lengths.npy": lengths for side, lengths in pairs.lengths.items()})
    for name, array in small.items():
        arrays[name] = _GrowingArray(folder / name, array.dtype, array.shape)
        with arrays[name] as file:
            file.append(array)
    return {name: {"sha256": array.sha256, "shape": list(array.shape)} for name, array in arrays.items()}


def _shapes(
    found: Mapping[str, torch.Tensor], lengths: Mapping[str, NDArray[np.int32]], asked: NDArray[np.int64]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array, from what the teacher gave for one batch."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in found.items():
        cells = int(cells_of(sides_of(name), lengths)[asked].sum())
        # (B, L, d) or (B, h, L, L')
        shapes[name] = (cells, tensor.size(2)) if tensor.dim() == 3 else (cells * tensor.size(1),)
    return shapes


def _check_size(path: Path, shapes: Mapping[str, tuple[int, ...]], pairs: int) -> None:
    """Say how much will be written, and refuse what the disk has no room for."""
    size = sum(math.prod(shape) * np.dtype(dtype_of(name)).itemsize for name, shape in shapes.items())
    logger.info("%s: %.2f GB, %d bytes per pair", path, size / 1e9, size // pairs)
    check_room(path, size, _LESS, owner=OWNER)


def _append(array: _GrowingArray, padded: torch.Tensor, batch: TeacherBatch, teacher: str) -> None:
    """Write a batch's part of an array, without padding.

    Raises:
        UserError: naming the teacher and the pair of a number that is not finite.
    """
    values = padded.to(torch.float32 if padded.is_floating_point() else padded.dtype).cpu().numpy()
    real = real_positions(batch)
    spans = [spans_of(real[side]) for side in sides_of(array.path.name)]
    for number, (row, *places) in enumerate(zip(values, *spans, strict=True)):
        window = tuple(slice(*place) for place in places)
        block = row[window] if len(window) == 1 else row[:, *window]  # (L, d), (h, L, L')
        if not np.isfinite(block).all():
            raise UserError(
                f"teacher {teacher} gives what is no finite number for pair {int(batch.rows[number])} "
                f"({array.path.name}): its weights or its arithmetic overflow; take an earlier checkpoint, "
                "or run it without --bf16-autocast"
            )
        array.append(block)


class _GrowingArray:
    """A NumPy file of known shape, written from front to back, with its checksum made on the way.

    Not mapped into memory: a full disk is then an error, and not the end of the process.
    """

    def __init__(self, path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> None:
        self.path, self.shape, self._dtype = path, shape, np.dtype(kind)
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Checksum of the file, once all is written."""
        return self._digest.hexdigest()

    def __enter__(self) -> _GrowingArray:
        self._file = self.path.open("wb")
        header = io.BytesIO()
        said = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        np.lib.format.write_array_header_1_0(header, said)
        self._write(header.getvalue())
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, block: NDArray[Any]) -> None:
        """Write what comes next."""
        self._write(block.astype(self._dtype).tobytes())

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)
