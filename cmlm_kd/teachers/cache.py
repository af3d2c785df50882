"""Teachers' outputs for a training set, computed once: a directory with a manifest and NumPy arrays.

``manifest.json`` has the hashes of corpus and teachers, and a checksum of every array; ``logits-I.npy``
``(N, C)`` the logits of teacher I in the data's order of classes, ``hidden-L.npy`` ``(N, d)`` the first
position's state after layer L. Everything is float32. The directory appears only when complete.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    HIDDEN_STATES,
    LOGITS,
    NOTHING_ELSE,
    PROBABILITIES,
    ModelDescription,
    Needs,
    Request,
)
from cmlm_kd.api.signals import Ensembling, TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.errors import UserError
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.system.environment import describe_environment
from cmlm_kd.system.files import check_new_directory, directory_written_aside, file_sha256
from cmlm_kd.system.manifests import write_manifest
from cmlm_kd.teachers.cached_arrays import (
    CACHE_MANIFEST,
    CachedArray,
    CacheFormat,
    check_same,
    read_cached_array,
)
from cmlm_kd.teachers.ensemble import TeacherEnsemble

TEACHER_OUTPUTS = CacheFormat("cmlm-kd-teacher-outputs", 1, "teacher outputs", "logits-0.npy")
BATCH_SIZE = 64


@dataclass(frozen=True)
class CacheIdentity:
    """What the bytes of a cache depend on.

    Attributes:
        corpus: hash of the sentences (:meth:`Examples.text_hash`).
        examples: how many there are.
        labels: the data's classes.
        teachers: :meth:`cmlm_kd.teachers.ensemble.Member.identity` of each.
        precision: ``float32`` or ``bfloat16`` (of matrix products).
        hidden_states: layers whose first position is there.
    """

    corpus: str
    examples: int
    labels: list[str]
    teachers: list[dict[str, str | int]]
    precision: str
    hidden_states: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, teachers: TeacherEnsemble, examples: Examples, needs: Needs, precision: str) -> CacheIdentity:
        """Return the identity of the cache that would be written now."""
        return cls(
            examples.text_hash(),
            len(examples),
            list(teachers.labels),
            [member.identity for member in teachers.members],
            precision,
            list((needs.teacher or NOTHING_ELSE).hidden_states),
        )


class TeacherCache(SignalSource):
    """The outputs of teachers for one training set, read by row.

    Args:
        logits: of each teacher, ``(N, C)``.
        hidden_states: layer -> ``(N, d)``.
        ensembling: how several teachers become one.
        identity: of what its bytes depend on; None where nobody asks.
    """

    def __init__(
        self,
        logits: Sequence[NDArray[np.float32]],
        hidden_states: dict[int, NDArray[np.float32]],
        ensembling: Ensembling,
        identity: CacheIdentity | None = None,
    ) -> None:
        self._logits, self._hidden_states, self._ensembling = list(logits), hidden_states, ensembling
        self._identity = identity

    @property
    def description(self) -> ModelDescription:
        """The teachers' logits, or what can be averaged of them, and hidden states of the first position."""
        averaged_as_logits = len(self._logits) == 1 or self._ensembling == "logits"
        provides = {PROBABILITIES} | ({LOGITS} if averaged_as_logits else set())
        states = list(self._hidden_states.values())
        return ModelDescription(
            "teacher cache",
            frozenset(provides | ({HIDDEN_STATES} if states else set())),
            () if self._identity is None else tuple(self._identity.labels),
            layers=max(self._hidden_states, default=0),
            hidden_size=states[0].shape[1] if states else 0,
        )

    @property
    def rows(self) -> int:
        """Examples of the training set."""
        return len(self._logits[0])

    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return the teachers' outputs for the examples ``batch.rows``; see :meth:`SignalSource.signal`."""
        rows, device = batch.rows.cpu().numpy(), batch.rows.device

        def tensor(array: NDArray[np.float32]) -> torch.Tensor:
            return torch.from_numpy(array[rows]).to(device)  # indexing copies out of the map

        # Hidden states are of one teacher: check_needs lets no criterion ask several for them.
        hidden = {layer: tensor(array) for layer, array in self._hidden_states.items()}
        outputs = [ModelOutput(logits=tensor(array), hidden_states=hidden) for array in self._logits]
        return TeacherSignal(tuple(outputs), self._ensembling)

    def summary(self, examples: Examples) -> str:
        """Return in a line what the teachers say of the training set: how much they can add to its labels.

        Args:
            examples: of classes, with or without labels: the training set that the cache is of.
        """
        members = [torch.from_numpy(np.array(array)) for array in self._logits]  # (N, C) each
        signal = TeacherSignal.of_logits(*members, ensembling=self._ensembling)
        probs = signal.probabilities()  # (N, C)
        best = probs.argmax(1)  # (N,)
        shares = 100 * torch.bincount(best, minlength=probs.size(1)) / len(best)  # (C,)
        named = ", ".join(
            f"{label} {share:.1f} %" for label, share in zip(examples.labels, shares.tolist(), strict=True)
        )
        bits = float(torch.special.entr(probs).sum(1).mean()) / math.log(2)
        line = f"the teachers say {named}, with {bits:.2f} bits of doubt an example"
        if examples.target is None:
            return line
        right = float((best == torch.from_numpy(examples.target)).double().mean())
        return f"{line}; of {100 * right:.1f} % what the label says"


def check_cacheable(criterion: str, needs: Needs) -> None:
    """Refuse to cache what would be too large, or not the same twice.

    Raises:
        UserError: naming the criterion and what it reads.
    """
    request = needs.teacher or NOTHING_ELSE
    if request.compares_positions:
        raise UserError(
            f"{criterion}: --teacher-cache holds logits and first positions; {criterion} reads the teacher "
            "at every position, so leave out --teacher-cache: the teacher then runs beside the student"
        )
    if needs.teacher_dropout:
        raise UserError(
            f"{criterion}: the teacher runs with dropout, so that no two passes are equal; leave out "
            "--teacher-cache"
        )


def open_cache(path: Path, identity: CacheIdentity, ensembling: Ensembling) -> TeacherCache:
    """Open a cache and check every byte of it.

    Args:
        path: its directory.
        identity: what it must be of; further hidden states may be in it.
        ensembling: how several teachers become one.

    Raises:
        UserError: if it is damaged, or of another corpus or teacher, naming both.
    """
    manifest = TEACHER_OUTPUTS.read(path, CacheManifest)
    check_same(path, manifest.identity, identity, _SETS, _SINGULAR)
    read = functools.partial(_read_array, path, manifest, len(identity.labels))
    logits = [read(f"logits-{index}.npy") for index in range(len(identity.teachers))]
    hidden = {layer: read(f"hidden-{layer}.npy") for layer in identity.hidden_states}
    return TeacherCache(logits, hidden, ensembling, identity)


def write_cache(
    path: Path,
    teachers: TeacherEnsemble,
    examples: Examples,
    needs: Needs,
    identity: CacheIdentity,
    device: str = "cpu",
) -> None:
    """Run the teachers over all examples and write what they say.

    Args:
        path: a directory that is not there, or empty.
        teachers: who is asked.
        examples: the training set.
        needs: what the criterion reads.
        identity: :meth:`CacheIdentity.of` the same.
        device: where to compute.

    Raises:
        UserError: if the directory holds something else, or a teacher's logits are not finite.
    """
    check_new_directory(path, "is not empty and no cache of a teacher")
    with directory_written_aside(path, manifest=CACHE_MANIFEST) as partial:
        # Inside: another process that wants the same learns it now, and not after all the work.
        arrays = _compute(teachers, examples, needs, identity, device)
        files = {}
        for name, array in arrays.items():
            np.save(partial / name, array)
            files[name] = {"sha256": file_sha256(partial / name), "shape": list(array.shape)}
        manifest = {
            "format": TEACHER_OUTPUTS.name,
            "version": TEACHER_OUTPUTS.version,
            "identity": vars(identity),
            "teachers": [member.model.name for member in teachers.members],
            "files": files,
            "environment": describe_environment(device),
        }
        write_manifest(partial / CACHE_MANIFEST, manifest)


def _compute(
    teachers: TeacherEnsemble, examples: Examples, needs: Needs, identity: CacheIdentity, device: str
) -> dict[str, NDArray[np.float32]]:
    """Return file name -> array, the examples in batches of like lengths."""
    encoded = [EncodedExamples(examples, member.model.inputs) for member in teachers.members]
    order = encoded[0].by_length()  # (N,)
    arrays: dict[str, NDArray[np.float32]] = {}
    narrow = identity.precision == "bfloat16"
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE].tolist()
        batches = [
            {name: tensor.to(device) for name, tensor in part.collate(rows).items()} for part in encoded
        ]
        batch = TeacherBatch(
            torch.tensor(rows),
            other_inputs=dict(enumerate(batches)),
            place=functools.partial(_place, examples, rows),
        )
        with bfloat16_autocast(narrow, device):
            signal = teachers.signal(batch, needs.teacher or NOTHING_ELSE, dropout=needs.teacher_dropout)
        named = {f"logits-{index}.npy": logits for index, logits in enumerate(signal.members)}
        named.update({f"hidden-{layer}.npy": states for layer, states in signal.hidden_states.items()})
        for name, tensor in named.items():
            if name not in arrays:
                arrays[name] = np.empty((len(order), tensor.size(1)), np.float32)  # (N, C) or (N, d)
            arrays[name][rows] = tensor.float().cpu().numpy()
    return arrays


def _place(examples: Examples, rows: list[int], row: int) -> str:
    """Return where a row of the batch ``rows`` comes from."""
    return examples.place(rows[row])


@dataclass(frozen=True)
class CacheManifest:
    """The contents of a cache's ``manifest.json``.

    Attributes:
        identity: what its bytes depend on.
        teachers: their names, for people.
        files: of the arrays.
        environment: hardware and versions, for people.
    """

    identity: CacheIdentity
    teachers: list[str]
    files: dict[str, CachedArray]
    environment: dict[str, Any] = field(default_factory=dict)


def verify_cache(path: Path) -> CacheManifest:
    """Check every byte and number of a cache, whatever it is of, and return its manifest.

    Raises:
        UserError: naming the file that is damaged.
    """
    manifest = TEACHER_OUTPUTS.read(path, CacheManifest)
    identity = manifest.identity
    names = [f"logits-{index}.npy" for index in range(len(identity.teachers))]
    for name in (*names, *(f"hidden-{layer}.npy" for layer in identity.hidden_states)):
        _read_array(path, manifest, len(identity.labels), name)
    return manifest


def _read_array(path: Path, manifest: CacheManifest, classes: int, name: str) -> NDArray[np.float32]:
    # As many scores as classes; where there are no classes, one.
    wide = max(classes, 1) if name.startswith("logits-") else None
    shape = (manifest.identity.examples, wide)
    return read_cached_array(path, manifest.files, name, np.float32, shape)


_SETS = {"hidden_states": "hidden states of layers"}
_SINGULAR = {"teachers": "teacher", "labels": "set of classes", "examples": "number of examples"}
