"""The inside of a translator for all pairs of a training set, on disk: what an online teacher would give.

A directory with a manifest and NumPy arrays, one for each kind and layer that was asked for. A pair with S
source and T target tokens has its part of each, without padding; pairs stand in the order in which the
teacher was asked about them:

==========================================  ===================  =======================================
array                                       shape                a pair's part
==========================================  ===================  =======================================
``order.npy``                               ``(asked,)``         its row in the training set, int64
``source-lengths``, ``target-lengths.npy``  ``(pairs,)``         S and T, int32, in the order of the rows
``encoder-hidden-L``, ``decoder-hidden-L``  ``(tokens, d)``      S or T states of layer L
``encoder-attention-L``                     ``(numbers,)``       ``(h, S, S)`` scores before the softmax
``decoder-attention-L``                     ``(numbers,)``       ``(h, T, T)``
``cross-attention-L``                       ``(numbers,)``       ``(h, T, S)``
``ids.npy``, ``logits.npy``                 ``(tokens, k)``      soft targets of T tokens; ids are int32
``tail.npy``                                ``(tokens, n)``      the log-mass of all other entries
==========================================  ===================  =======================================

Numbers are float32, so that the losses are those of the teacher that runs beside the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, Request
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.teachers.cached_arrays import CachedArray, CacheFormat

TEACHER_STATES = CacheFormat("cmlm-kd-teacher-states", 1, "a translator's states", "source-lengths.npy")
SIDES = ("source", "target")
SOFT_TARGET_ARRAYS = ("ids.npy", "logits.npy", "tail.npy")
_BETWEEN = {"encoder": ("source", "source"), "decoder": ("target", "target"), "cross": ("target", "source")}


@dataclass(frozen=True)
class StatesIdentity:
    """What the bytes of a cache depend on, and which layers it has.

    Attributes:
        corpus: hash of the pairs as the training reads them.
        pairs: how many there are.
        teacher: hash of its weights and dictionaries.
        precision: ``float32`` or ``bfloat16`` (of matrix products).
        topk: soft-target entries per token; 0 without soft targets.
        tail_temperatures: at which they have the mass of all others.
        encoder_states, decoder_states: layers whose hidden states are there.
        encoder_scores, decoder_scores, cross_scores: layers whose attention scores are there.
    """

    corpus: str
    pairs: int
    teacher: str
    precision: str
    topk: int = 0
    tail_temperatures: list[float] = field(default_factory=list)
    encoder_states: list[int] = field(default_factory=list)
    encoder_scores: list[int] = field(default_factory=list)
    decoder_states: list[int] = field(default_factory=list)
    decoder_scores: list[int] = field(default_factory=list)
    cross_scores: list[int] = field(default_factory=list)

    @classmethod
    def of(
        cls, corpus: str, pairs: int, teacher: str, precision: str, request: Request, topk: int
    ) -> StatesIdentity:
        """Return the identity of what answers a request.

        Args:
            corpus, pairs, teacher, precision: see the class.
            request: with the temperatures whose tails are read.
            topk: entries per token, where the request wants predictions.
        """
        encoder, predicts = request.encoder or NOTHING_ELSE, request.predictions != "none"
        return cls(
            corpus,
            pairs,
            teacher,
            precision,
            topk if predicts else 0,
            list(request.tail_temperatures) if predicts else [],
            list(encoder.hidden_states),
            list(encoder.attention_scores),
            list(request.hidden_states),
            list(request.attention_scores),
            list(request.cross_attention_scores),
        )

    @property
    def files(self) -> list[str]:
        """Names of the files of what was asked for."""
        by_kind = {
            ("encoder", "hidden"): self.encoder_states,
            ("encoder", "attention"): self.encoder_scores,
            ("decoder", "hidden"): self.decoder_states,
            ("decoder", "attention"): self.decoder_scores,
            ("cross", "attention"): self.cross_scores,
        }
        found = [file_of(*kind, layer) for kind, layers in by_kind.items() for layer in layers]
        return [*found, *(SOFT_TARGET_ARRAYS if self.topk else ())]


@dataclass(frozen=True)
class StatesManifest:
    """The contents of a cache's ``manifest.json``.

    Attributes:
        identity: what its bytes depend on.
        teacher: its name, for people.
        files: of the arrays.
        environment: hardware and versions, for people.
    """

    identity: StatesIdentity
    teacher: str
    files: dict[str, CachedArray]
    environment: dict[str, Any] = field(default_factory=dict)


def real_positions(batch: TeacherBatch) -> dict[str, NDArray[np.bool_]]:
    """Return side -> ``(B, L)``, False on padding.

    Raises:
        ValueError: the batch has no target.
    """
    if batch.target is None:
        raise ValueError("teacher cache: states need the batch's target")
    padded = {"source": batch.inputs["src_tokens"], "target": batch.target}
    return {side: tokens.ne(batch.padding_idx).cpu().numpy() for side, tokens in padded.items()}


def spans_of(real: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first position and that behind the last of each row's tokens, padded on either side.

    Args:
        real: ``(B, L)``, False on padding.
    """
    first = real.argmax(1)  # (B,)
    return list(zip(first.tolist(), (first + real.sum(1)).tolist(), strict=True))


def cells_of(sides: tuple[str, ...], lengths: Mapping[str, NDArray[np.int32]]) -> NDArray[np.int64]:
    """Return how many positions, or pairs of positions, each pair of sentences has: ``(pairs,)``.

    Args:
        sides: one of them or two.
        lengths: side -> ``(pairs,)`` tokens.
    """
    cells: NDArray[np.int64] = np.prod([lengths[side].astype(np.int64) for side in sides], axis=0)
    return cells


def named_arrays(signal: TeacherSignal) -> dict[str, Tensor]:
    """Return file -> what a teacher gave for a batch, ``(B, L, d)`` or ``(B, h, L, L')``."""
    output, soft = signal.only_output, signal.soft_targets
    found = {}
    for half, kept in (("encoder", output.encoder or ModelOutput()), ("decoder", output)):
        for what, layers in (("hidden", kept.hidden_states), ("attention", kept.attention_scores)):
            found.update({file_of(half, what, layer): tensor for layer, tensor in layers.items()})
    for layer, scores in output.cross_attention_scores.items():
        found[file_of("cross", "attention", layer)] = scores
    if soft is not None:
        found.update(zip(SOFT_TARGET_ARRAYS, (soft.ids, soft.logits, soft.tail), strict=True))
    return found


def dtype_of(name: str) -> type[np.int32 | np.float32]:
    """Return the type of a file's numbers."""
    return np.int32 if name == SOFT_TARGET_ARRAYS[0] else np.float32


def sides_of(name: str) -> tuple[str, ...]:
    """Return whose positions a file is of: one side, or the two that attention lies between."""
    half, _, rest = name.partition("-")
    if rest.startswith("attention"):
        return _BETWEEN[half]
    return ("source",) if half == "encoder" else ("target",)


def file_of(half: str, what: str, layer: int) -> str:
    """Return the name of a layer's file.

    Args:
        half: ``encoder`` or ``decoder``; ``cross`` for attention over the source.
        what: ``hidden`` or ``attention``.
        layer: from 0 (states) or 1.
    """
    return f"{half}-{what}-{layer}.npy"
