"""What a translator gave for all pairs of a training set, as a source of signals; see :mod:`state_files`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    CROSS_ATTENTION_SCORES,
    HIDDEN_STATES,
    NOTHING_ELSE,
    SOFT_TARGETS,
    ModelDescription,
    Request,
)
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.store.batches import fold_tail
from cmlm_kd.teachers.cached_arrays import OWNER, REMEDY, check_same, read_cached_array
from cmlm_kd.teachers.state_files import (
    SIDES,
    SOFT_TARGET_ARRAYS,
    TEACHER_STATES,
    StatesIdentity,
    StatesManifest,
    cells_of,
    dtype_of,
    file_of,
    real_positions,
    sides_of,
    spans_of,
)


class StateCache(SignalSource):
    """What a translator gave for the pairs of a training set, read by row.

    Args:
        path: directory of the cache.
        identity: what it has.
        lengths: side -> ``(pairs,)`` tokens.
        order: ``(asked,)`` rows, as their parts follow each other.
        arrays: by the names of their files.
    """

    by_row = True

    def __init__(
        self,
        path: Path,
        identity: StatesIdentity,
        lengths: Mapping[str, NDArray[np.int32]],
        order: NDArray[np.int64],
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        self.path, self.identity = path, identity
        # Plain views: slicing a memmap itself takes several times as long.
        self._arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self._lengths = lengths
        self._starts: dict[tuple[str, ...], NDArray[np.int64]] = {}
        self._cells: dict[tuple[str, ...], int] = {}
        for sides in {sides_of(name) for name in arrays}:
            cells = cells_of(sides, lengths)[order]  # (asked,)
            self._starts[sides] = np.zeros(identity.pairs, np.int64)  # (pairs,)
            self._starts[sides][order] = cells.cumsum() - cells
            self._cells[sides] = int(cells.sum())
        self._asked = np.zeros(identity.pairs, np.bool_)  # (pairs,)
        self._asked[order] = True

    def __reduce__(self) -> tuple[Any, tuple[Path, StatesIdentity]]:
        """Pickle the path: another process maps the files itself, which have been compared here."""
        return _reopened, (self.path, self.identity)

    @property
    def rows(self) -> int:
        """Pairs of the training set."""
        return self.identity.pairs

    @property
    def description(self) -> ModelDescription:
        """Hidden states, scores and soft targets: of each what was asked for."""
        own = self.identity
        there = {
            HIDDEN_STATES: own.encoder_states or own.decoder_states,
            ATTENTION_SCORES: own.encoder_scores or own.decoder_scores,
            CROSS_ATTENTION_SCORES: own.cross_scores,
            SOFT_TARGETS: own.topk,
        }
        return ModelDescription(
            f"teacher cache {self.path}",
            frozenset(what for what, some in there.items() if some),
            layers=max((*own.decoder_states, *own.decoder_scores, *own.cross_scores), default=0),
            topk=own.topk,
            tail_temperatures=tuple(own.tail_temperatures),
        )

    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return what the teacher gave for the pairs of a batch; see :meth:`SignalSource.signal`.

        Args:
            batch: its target ``(B, T)`` and, of its inputs, ``src_tokens`` ``(B, S)``, padded on either side.
            request: layers that are there.
            dropout: of no meaning here.

        Returns:
            What an online teacher returns, 0 at positions of padding.

        Raises:
            UserError: the teacher was not asked about a pair, or a pair has another length.
            ValueError: the batch has no target.
        """
        found = _Batch(batch.rows.numpy(), real_positions(batch))
        self._check(found)
        encoder = request.encoder or NOTHING_ELSE
        output = ModelOutput(
            hidden_states=self._layers("encoder", "hidden", encoder.hidden_states, found),
            attention_scores=self._layers("encoder", "attention", encoder.attention_scores, found),
            attention_mask=torch.from_numpy(found.real["source"]),
        )
        return TeacherSignal(
            (
                ModelOutput(
                    hidden_states=self._layers("decoder", "hidden", request.hidden_states, found),
                    attention_scores=self._layers("decoder", "attention", request.attention_scores, found),
                    cross_attention_scores=self._layers(
                        "cross", "attention", request.cross_attention_scores, found
                    ),
                    encoder=output,
                ),
            ),
            soft_targets=None if request.predictions == "none" else self._soft_targets(request.topk, found),
        )

    def _check(self, batch: _Batch) -> None:
        wrong = ~self._asked[batch.rows]  # (B,)
        if wrong.any():
            raise UserError(
                f"{OWNER}{self.path} has nothing of pair {batch.rows[wrong][0]}, which is longer than the "
                "teacher reads; lower --max-source-positions and --max-target-positions"
            )
        for side, real in batch.real.items():
            here, there = real.sum(1), self._lengths[side][batch.rows]  # (B,) each
            if (here != there).any():
                place = int(np.argmax(here != there))
                raise UserError(
                    f"{OWNER}{self.path} has {there[place]} {side} tokens of pair {batch.rows[place]}, which "
                    f"has {here[place]}: it is of other data; give another --teacher-cache"
                )

    def _layers(self, half: str, what: str, layers: tuple[int, ...], batch: _Batch) -> dict[int, Tensor]:
        return {layer: torch.from_numpy(self._padded(file_of(half, what, layer), batch)) for layer in layers}

    def _padded(self, name: str, batch: _Batch) -> NDArray[Any]:
        """Return an array's parts of a batch where its tokens are: ``(B, L, d)``, or ``(B, h, L, L')``."""
        array, sides = self._arrays[name], sides_of(name)
        starts = self._starts[sides][batch.rows].tolist()  # (B,)
        sizes = [batch.real[side].shape[1] for side in sides]
        spans = [batch.spans[side] for side in sides]
        if len(sides) == 1:
            result = np.zeros((len(starts), sizes[0], array.shape[1]), array.dtype)  # (B, L, d)
            for row, start, (first, last) in zip(result, starts, spans[0], strict=True):
                row[first:last] = array[start : start + last - first]
            return result
        heads = len(array) // self._cells[sides]
        result = np.zeros((len(starts), heads, *sizes), array.dtype)  # (B, h, L, L')
        for row, start, (top, bottom), (left, right) in zip(result, starts, *spans, strict=True):
            shape = (heads, bottom - top, right - left)
            begin = heads * start
            row[:, top:bottom, left:right] = array[begin : begin + math.prod(shape)].reshape(shape)
        return result

    def _soft_targets(self, k: int | None, batch: _Batch) -> SoftTargets:
        ids, logits, tail = (self._padded(name, batch) for name in SOFT_TARGET_ARRAYS)  # (B, T, k or n)
        k, temperatures = k or self.identity.topk, tuple(self.identity.tail_temperatures)
        if k < self.identity.topk:
            flat = [part.reshape(-1, part.shape[2]) for part in (logits, tail)]  # (B*T, k), (B*T, n)
            tail = fold_tail(flat[0], flat[1], temperatures, k).reshape(tail.shape)
        return SoftTargets(
            torch.from_numpy(ids[..., :k].astype(np.int64)),  # (B, T, k)
            torch.from_numpy(np.ascontiguousarray(logits[..., :k])),  # (B, T, k)
            torch.from_numpy(tail),  # (B, T, n)
            torch.from_numpy(batch.real["target"]),  # (B, T)
            temperatures,
        )


class _Batch:
    """Rows of the training set, and where each has its tokens.

    Args:
        rows: ``(B,)``.
        real: side -> ``(B, L)``, False on padding.
    """

    def __init__(self, rows: NDArray[np.int64], real: Mapping[str, NDArray[np.bool_]]) -> None:
        self.rows, self.real = rows, real
        self.spans = {side: spans_of(mask) for side, mask in real.items()}


# -- files ------------------------------------------------------------------------------------------------


def open_states(path: Path, wanted: StatesIdentity) -> StateCache:
    """Open a cache and check every byte of it.

    Args:
        path: its directory.
        wanted: what it must be of, and have; further layers may be in it.

    Raises:
        UserError: if it is damaged, of another corpus or teacher, or lacks a layer, naming both.
    """
    found = TEACHER_STATES.read(path, StatesManifest)
    if wanted.topk > found.identity.topk:
        raise UserError(
            f"teacher cache {path} has the {found.identity.topk} best entries of each token, this training "
            f"reads {wanted.topk}; lower --kd-topk, give another --teacher-cache, or {REMEDY}"
        )
    covering = replace(wanted, topk=found.identity.topk)
    check_same(path, found.identity, covering, _SETS, _SINGULAR)
    return _read(path, found, covering)


def verify_states(path: Path) -> StatesManifest:
    """Check every byte and number of a cache, whatever it is of, and return its manifest.

    Raises:
        UserError: naming the file that is damaged.
    """
    manifest = TEACHER_STATES.read(path, StatesManifest)
    _read(path, manifest, manifest.identity)
    return manifest


def _reopened(path: Path, identity: StatesIdentity) -> StateCache:
    return _read(path, TEACHER_STATES.read(path, StatesManifest), identity, compared=True)


def _read(
    path: Path, manifest: StatesManifest, identity: StatesIdentity, *, compared: bool = False
) -> StateCache:
    """Map the arrays that an identity names, each compared with its checksum unless they have been."""
    read = functools.partial(read_cached_array, path, manifest.files, compared=compared)
    lengths = {side: read(f"{side}-lengths.npy", np.int32, (identity.pairs,)) for side in SIDES}
    order = read("order.npy", np.int64, (None,))
    rows = np.unique(order)  # sorted
    if not len(order) or len(rows) < len(order) or rows[0] < 0 or rows[-1] >= identity.pairs:
        raise UserError(f"{OWNER}{path / 'order.npy'} is damaged (no order of rows); {REMEDY}")
    arrays = {}
    for name in identity.files:
        sides = sides_of(name)
        cells = int(cells_of(sides, lengths)[order].sum())
        flat = len(sides) == 2
        arrays[name] = read(name, dtype_of(name), (None,) if flat else (cells, None))
        if flat and len(arrays[name]) % cells:
            raise UserError(f"{OWNER}{path / name} is damaged (its size is not that of the pairs); {REMEDY}")
    temperatures = manifest.identity.tail_temperatures
    return StateCache(path, replace(identity, tail_temperatures=temperatures), lengths, order, arrays)


_SETS = {
    "tail_temperatures": "tails at temperatures",
    "encoder_states": "encoder's hidden states of layers",
    "encoder_scores": "encoder's attention scores of layers",
    "decoder_states": "decoder's hidden states of layers",
    "decoder_scores": "decoder's attention scores of layers",
    "cross_scores": "cross-attention scores of layers",
}
_SINGULAR = {"pairs": "number of pairs"}
