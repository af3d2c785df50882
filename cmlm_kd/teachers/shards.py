"""What every dump has in common: its options, shards that are filled batch by batch, summaries, progress."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cmlm_kd.api.next_tokens import Pairs
from cmlm_kd.data.masking.positions import COVER_STRIDE
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import ShardPlan, ShardRows
from cmlm_kd.system.devices import check_device
from cmlm_kd.system.ranges import AT_LEAST_ONE, POSITIVE, check_range
from cmlm_kd.system.shares import Share


@dataclass(frozen=True)
class DumpOptions:
    """How to dump.

    Attributes:
        topk: vocabulary entries kept for each position, at least 1 (the paper trains with 8).
        tail_temperatures: temperatures at which the log-mass outside the ``topk`` entries is kept; at least
            one, each > 0.
        stride: distance of masked positions in a pass, at least 1 (the paper has 7).
        max_tokens: teacher positions a batch, padding included, at least 1.
        bf16_autocast: compute in bfloat16 where that is safe, in float32 elsewhere.
        shard_rows: pairs a shard, at least 1; an interrupted dump loses at most one shard of work.
        device: where the teacher runs, as torch names it.
        shard: whose shards to write, so that the store stays unfinished; None for all.

    Raises:
        UserError: a value is out of its range.
    """

    topk: int = 8
    tail_temperatures: tuple[float, ...] = (1.0, 10.0)
    stride: int = COVER_STRIDE
    max_tokens: int = 4096
    bf16_autocast: bool = False
    shard_rows: int = 4096
    device: str = "cpu"
    shard: Share | None = None

    def __post_init__(self) -> None:
        for name in ("topk", "stride", "max_tokens", "shard_rows"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), AT_LEAST_ONE)
        for temperature in self.tail_temperatures:
            if not POSITIVE.contains(temperature):
                raise UserError(f"--tail-temperatures has {temperature}, each must be positive and finite")
        if not self.tail_temperatures:
            raise UserError("--tail-temperatures is empty, give at least one, such as 1")
        check_device(self.device)


class Summary(NamedTuple):
    """What the store keeps of M target positions."""

    ids: NDArray[np.int64]  # (M, k)
    logits: NDArray[np.float16]  # (M, k)
    tail: NDArray[np.float16]  # (M, n)


@dataclass(frozen=True)
class ShardLayout:
    """Where the tokens of a shard's sentences are.

    Attributes:
        first_row: row of the corpus that its first sentence is.
        lengths: ``(rows,)`` tokens of each; 0 for one without a teacher row.
        starts: ``(rows + 1,)`` where each begins in the shard.
    """

    first_row: int
    lengths: NDArray[np.int32]
    starts: NDArray[np.int64]


class ShardDumper(ABC):
    """Runs a teacher over shards of a corpus."""

    def __init__(self, options: DumpOptions) -> None:
        self.options = options

    @abstractmethod
    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs the teacher can read, ``(B,)``."""

    @abstractmethod
    def summaries(
        self, source: Databin, target: Databin, layout: ShardLayout, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Summary]]:
        """Yield positions of the shard, ``(M,)``, and what the teacher says there, until each had its turn.

        Args:
            source, target: the corpus.
            layout: of the shard.
            rows: which of the shard's sentences to read, each of them readable.
        """

    def layout(self, source: Databin, target: Databin, plan: ShardPlan) -> ShardLayout:
        """Return where what the teacher says of each sentence of a shard will be."""
        rows = range(plan.first_row, plan.first_row + plan.rows)
        pairs = Pairs([source[row] for row in rows], [target[row] for row in rows])
        lengths = np.where(self.readable(pairs), pairs.lengths[1], 0).astype(np.int32)  # (rows,)
        return ShardLayout(plan.first_row, lengths, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def shard(
        self, source: Databin, target: Databin, plan: ShardPlan, progress: tqdm[None] | None = None
    ) -> ShardRows:
        """Return the soft targets of one shard; pairs that the teacher cannot read have none."""
        layout = self.layout(source, target, plan)
        total, k, n = int(layout.starts[-1]), self.options.topk, len(self.options.tail_temperatures)
        result = ShardRows(
            layout.lengths,
            np.zeros((total, k), np.int64),
            np.zeros((total, k), np.float16),
            np.zeros((total, n), np.float16),
        )
        for positions, summary in self.summaries(source, target, layout, np.flatnonzero(layout.lengths)):
            result.ids[positions], result.logits[positions], result.tail[positions] = summary
            if progress is not None:
                progress.update(len(positions))
        if progress is not None:
            whole = target.sizes[plan.first_row : plan.first_row + plan.rows]
            progress.update(int(whole[layout.lengths == 0].sum()))
        return result


def progress_bar(target: Databin, plans: list[ShardPlan]) -> tqdm[None]:
    """Return a bar that counts target tokens; in a log file it is a line each half minute."""
    left = sum(int(target.sizes[plan.first_row : plan.first_row + plan.rows].sum()) for plan in plans)
    total = int(target.sizes.sum())
    return tqdm(
        total=total,
        initial=total - left,
        unit="tok",
        unit_scale=True,
        desc="soft targets",
        mininterval=0.2 if sys.stderr.isatty() else 30,
    )


def summarise(logits: Tensor, k: int, temperatures: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the top-k of each row and the log-mass of the rest.

    Args:
        logits: ``(M, V)`` float32 or float64; overwritten.
        k: entries to keep, 1 to V.
        temperatures: each > 0.

    Returns:
        ids ``(M, k)`` and logits ``(M, k)``, best first, and for each temperature ``T`` the log-sum-exp of
        all other logits divided by ``T``, ``(M, len(temperatures))`` (``-inf`` if there are none).
    """
    top, ids = logits.topk(k, dim=-1)  # (M, k)
    rest = logits.scatter_(-1, ids, float("-inf"))  # (M, V)
    tail = torch.stack([torch.logsumexp(rest / t if t != 1 else rest, dim=-1) for t in temperatures], dim=-1)
    return ids, top, tail
