"""Turn stored sentences into the padded tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.errors import UserError
from cmlm_kd.store.format import ShardView


@dataclass(frozen=True)
class Located:
    """Where the soft targets of the sentences of a batch lie.

    Attributes:
        shard: ``(B,)`` index of the shard; any value where the length is 0.
        start: ``(B,)`` first token inside that shard.
        length: ``(B,)`` tokens; 0 for a sentence without teacher row.
    """

    shard: NDArray[np.integer[Any]]
    start: NDArray[np.integer[Any]]
    length: NDArray[np.integer[Any]]


def gather(
    shards: Sequence[ShardView],
    located: Located,
    target_lengths: ArrayLike,
    pad_to: int,
    left_pad: bool,
    tail_temperatures: tuple[float, ...],
    k: int,
) -> SoftTargets:
    """Copy the soft targets of a batch next to its target tokens.

    Args:
        shards: the shards that ``located`` refers to, each with at least ``k`` entries a token.
        located: the sentences, in the order of the batch.
        target_lengths: ``(B,)`` tokens of each target sentence, end of sentence included.
        pad_to: T, the width of the batch's target.
        left_pad: the batch's target is padded on the left.
        tail_temperatures: of the shards.
        k: entries a token to return; the mass of the others joins the tail.

    Raises:
        UserError: a sentence of the batch is not as long as its teacher row.
    """
    check_lengths(located.length, np.asarray(target_lengths))
    batch, width, stored = len(located.length), len(tail_temperatures), shards[0].ids.shape[1]
    ids = np.zeros((batch * pad_to, stored), shards[0].ids.dtype)  # (B*T, K)
    logits = np.zeros((batch * pad_to, stored), np.float16)  # (B*T, K)
    tail = np.zeros((batch * pad_to, width), np.float16)  # (B*T, n)
    columns = np.arange(pad_to)  # (T,)
    pad = pad_to - located.length if left_pad else np.zeros_like(located.length)  # (B,)
    valid = (columns >= pad[:, None]) & (columns < (pad + located.length)[:, None])  # (B, T)
    places = (located.shard, located.start, located.length, np.arange(batch) * pad_to + pad)
    # One sentence after the other: as fast as index arithmetic, and no slower when each comes from another
    # shard.
    for shard, start, length, place in zip(*(array.tolist() for array in places), strict=True):
        if length:
            source, end, to = shards[shard], start + length, place + length
            ids[place:to] = source.ids[start:end]
            logits[place:to] = source.logits[start:end]
            tail[place:to] = source.tail[start:end]
    if k < stored:
        tail = fold_tail(logits, tail, tail_temperatures, k)
    return SoftTargets(
        torch.from_numpy(ids[:, :k].astype(np.int64)).view(batch, pad_to, k),  # (B, T, k)
        torch.from_numpy(np.ascontiguousarray(logits[:, :k])).view(batch, pad_to, k),  # (B, T, k)
        torch.from_numpy(tail).view(batch, pad_to, width),  # (B, T, n)
        torch.from_numpy(valid),  # (B, T)
        tail_temperatures,
    )


def check_lengths(stored: NDArray[np.integer[Any]], targets: NDArray[np.integer[Any]]) -> None:
    """Refuse teacher rows that are not as long as their sentences; rows without a teacher have length 0.

    Raises:
        UserError: naming the first such sentence and both lengths.
    """
    wrong = np.flatnonzero((stored != targets) & (stored != 0))
    if wrong.size:
        first = int(wrong[0])
        raise UserError(
            f"store: {wrong.size} of {targets.size} target sentences differ in length from their teacher row "
            f"(first: number {first}, {targets[first]} tokens, its row has {stored[first]}); the store was "
            "dumped for other data: run 'cmlm-kd dump' for this data-bin"
        )


def fold_tail(
    logits: NDArray[np.float16], tail: NDArray[np.float16], temperatures: tuple[float, ...], k: int
) -> NDArray[np.float16]:
    """Return the tail that goes with the first ``k`` entries: the mass of the others joins it.

    Args:
        logits: ``(N, K)`` best first.
        tail: ``(N, n)`` log-sum-exp of all but the K entries, divided by each temperature before the
            exponential.
        temperatures: the n temperatures.
        k: entries that stay, at most K.
    """
    dropped = logits[:, k:].astype(np.float32)  # (N, K-k)
    folded = [
        np.logaddexp(
            tail[:, column].astype(np.float32), np.logaddexp.reduce(dropped / temperature, axis=1)
        )  # (N,)
        for column, temperature in enumerate(temperatures)
    ]
    return np.stack(folded, axis=1).astype(np.float16)  # (N, n)
