"""What teachers that predict the next token believe about every target position of a corpus.

One forward per pair, the gold target as its history (teacher forcing). Pairs of one shard are sorted by
length before they are batched, so that batches hold next to no padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher, Pairs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store.format import LOWEST_LOGIT
from cmlm_kd.teachers.shards import DumpOptions, ShardDumper, ShardLayout, Summary

ROWS_IN_CACHE = 32
"""Positions that are summarised at a time on a CPU, so that their logits are read from its cache."""


class TeacherForcingDumper(ShardDumper):
    """Runs a :class:`NextTokenTeacher` over shards of a corpus."""

    def __init__(self, teacher: NextTokenTeacher, options: DumpOptions) -> None:
        super().__init__(options)
        self.teacher = teacher

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs the teacher reads."""
        return self.teacher.readable(pairs)

    def summaries(
        self, source: Databin, target: Databin, layout: ShardLayout, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Summary]]:
        """Yield what the teacher says of one batch after the other; see :meth:`ShardDumper.summaries`."""
        sources, targets = (side.sizes[layout.first_row + rows] for side in (source, target))
        for batch in batches_by_length(sources, targets, self.options.max_tokens):
            chosen = rows[batch]  # (B,)
            corpus_rows = (layout.first_row + chosen).tolist()
            pairs = Pairs([source[row] for row in corpus_rows], [target[row] for row in corpus_rows])
            positions = np.concatenate(
                [np.arange(layout.starts[row], layout.starts[row + 1]) for row in chosen]
            )  # (M,)
            yield positions, self._summary(pairs, corpus_rows)

    @torch.inference_mode()
    def _summary(self, pairs: Pairs, corpus_rows: list[int]) -> Summary:
        said = self.teacher.next_tokens(pairs)
        ids, top, tail = summarise_next_tokens(said, self.options.topk, self.options.tail_temperatures)
        return Summary(
            ids.cpu().numpy(),
            half_of(top, self.teacher, pairs, corpus_rows).cpu().numpy(),
            tail.half().cpu().numpy(),
        )


def batches_by_length(
    sources: NDArray[np.integer[Any]], targets: NDArray[np.integer[Any]], max_tokens: int
) -> Iterator[NDArray[np.int64]]:
    """Yield pairs by falling length, up to ``max_tokens`` padded positions of the longer side a batch.

    Args:
        sources: tokens of each source, ``(rows,)``.
        targets: tokens of each target, likewise.
        max_tokens: a longer pair is a batch by itself.
    """
    longer = np.maximum(sources, targets)  # (rows,)
    # The target first: its padding costs most, the output layer's.
    order = np.lexsort((-sources, -targets, -longer))
    start = 0
    while start < len(order):
        size = max(1, max_tokens // int(longer[order[start]]))
        yield order[start : start + size]
        start += size


def summarise_next_tokens(
    said: NextTokens, k: int, temperatures: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the k best entries of each position and the log-mass of everything else.

    The mass outside of all entries joins the tail. At a temperature other than 1 it counts as if it were
    spread evenly over the entries that have no mass of their own, because nothing says how it is: of E such
    entries and a mass u, the sum of their tempered masses is ``E * (u / E) ** (1 / T)``.

    Args:
        said: of N positions; its logits are overwritten.
        k: entries to keep, 1 to V.
        temperatures: the n temperatures of the tail, each > 0.

    Returns:
        ids ``(N, k)`` and logits ``(N, k)``, best first, and the tail ``(N, n)``.
    """
    empty = None if said.outside is None else said.logits.isneginf().sum(-1).clamp(min=1)  # (N,)
    rows = ROWS_IN_CACHE if said.logits.device.type == "cpu" else max(1, len(said.logits))
    parts = [_summarise_in_place(block, k, temperatures) for block in torch.split(said.logits, rows)]
    ids, top, tail = (torch.cat(column) for column in zip(*parts, strict=True))
    if said.outside is None or empty is None:
        return ids, top, tail
    spread = [
        said.outside / temperature + (1 - 1 / temperature) * empty.log() for temperature in temperatures
    ]  # n of (N,)
    return ids, top, tail.logaddexp(torch.stack(spread, -1))


def _summarise_in_place(
    logits: Tensor, k: int, temperatures: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what :func:`cmlm_kd.teachers.shards.summarise` does in half of its time.

    Nothing but rounding differs; a C-MLM keeps the other, so that its stores keep their bytes.
    """
    top, ids = logits.topk(k, dim=-1)  # (n, k)
    rest = logits.scatter_(-1, ids, float("-inf"))  # (n, V)
    least = top[:, -1:].clamp(min=torch.finfo(top.dtype).min)  # (n, 1), no less than all of the rest
    rest.sub_(least)
    tail = [
        (rest / temperature).exp_().sum(-1).log_() + least[:, 0] / temperature
        for temperature in temperatures[:-1]
    ]
    last = temperatures[-1]
    tail.append(rest.div_(last).exp_().sum(-1).log_() + least[:, 0] / last)
    return ids, top, torch.stack(tail, -1)


def half_of(top: Tensor, teacher: NextTokenTeacher, pairs: Pairs, rows: list[int]) -> Tensor:
    """Return logits in float16; what has no mass gets the lowest number that there is.

    Args:
        top: ``(N, k)``, best first.
        teacher: who gave them.
        pairs: whom they are about, the pairs ``rows`` of the corpus.
        rows: ``B`` rows.

    Raises:
        UserError: a logit is NaN, or all of a position are infinite, or too large for float16; naming the
            teacher, the value and the pair.
    """
    half = top.clamp(min=LOWEST_LOGIT).half()  # (N, k), NaN stays NaN
    wrong = ~half.isfinite().all(-1) | top[:, 0].isneginf()  # (N,)
    if bool(wrong.any()):
        position = int(wrong.nonzero()[0])
        ends = np.cumsum([len(target) for target in pairs.targets])
        number = int(np.searchsorted(ends, position, side="right"))
        values = top[position].tolist()
        value = next((value for value in values if not math.isfinite(value)), values[0])
        place = position - int(ends[number]) + len(pairs.targets[number])
        raise UserError(
            f"teacher {teacher.name} gives {value:g} for token {place} of pair {rows[number]}, no finite "
            "number of float16's range: its weights or its arithmetic overflow; take an earlier checkpoint, "
            "or run it without --bf16-autocast"
        )
    return half
