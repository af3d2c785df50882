"""Several stores as the soft targets of one training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.errors import UserError
from cmlm_kd.store.gather import Located, gather
from cmlm_kd.store.reader import SoftTargetStore


@dataclass(frozen=True)
class Part:
    """One corpus of a training set.

    Attributes:
        store: its soft targets, None where it is learnt from hard labels alone.
        rows: its sentences.
        repeats: how often in a row the training set holds it (upsampling), at least 1.
    """

    store: SoftTargetStore | None
    rows: int
    repeats: int = 1


class ConcatenatedStores:
    """The soft targets of corpora that follow each other, each perhaps repeated.

    Attributes:
        parts: the corpora, in order.
        k: entries a token.
        tail_temperatures: temperatures of the tail.
        rows_without_teacher: sentences of the training set that have no teacher row, repeats counted.

    Raises:
        UserError: no part has a store, or the stores differ in k or tail temperatures.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        stores = [part.store for part in parts if part.store is not None]
        if not stores:
            raise UserError(
                "store: none of the training sets has soft targets; give a store for one at least"
            )
        first = stores[0]
        for store in stores[1:]:
            for name in ("k", "tail_temperatures"):
                if getattr(store, name) != getattr(first, name):
                    raise UserError(
                        f"store: {first.path} has {name} {getattr(first, name)}, {store.path} has "
                        f"{getattr(store, name)}; training sets that are concatenated need the same"
                    )
        self.k = first.k
        self.tail_temperatures = first.tail_temperatures
        self._ends = np.cumsum([part.rows * part.repeats for part in parts])  # (parts,)
        self._shards = [shard for store in stores for shard in store.shards]
        self.rows_without_teacher = sum(
            part.repeats * (part.rows if part.store is None else part.store.manifest.rows_without_teacher)
            for part in parts
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __str__(self) -> str:
        described = [
            "hard labels" if part.store is None else f"store {part.store.signature} {part.store.path}"
            for part in self.parts
        ]
        return f"{', '.join(described)}, k {self.k}"

    def __reduce__(self) -> tuple[Callable[..., ConcatenatedStores], tuple[tuple[Part, ...]]]:
        return ConcatenatedStores, (self.parts,)

    def locate(self, indices: ArrayLike) -> Located:
        """Return where the soft targets of sentences ``indices`` ``(B,)`` of the training set lie."""
        rows = np.asarray(indices)  # (B,)
        which = np.searchsorted(self._ends, rows, side="right")  # (B,)
        shard, start, length = np.zeros((3, len(rows)), np.int64)
        first_row, first_shard = 0, 0
        for number, part in enumerate(self.parts):
            if part.store is not None:
                inside = which == number
                found = part.store.locate((rows[inside] - first_row) % part.rows)
                shard[inside] = first_shard + found.shard
                start[inside] = found.start
                length[inside] = found.length
                first_shard += len(part.store.shards)
            first_row = int(self._ends[number])
        return Located(shard, start, length)

    def collate(
        self,
        indices: ArrayLike,
        target_lengths: ArrayLike,
        pad_to: int,
        left_pad: bool = False,
        k: int | None = None,
    ) -> SoftTargets:
        """Return the soft targets of a batch; all is as in :meth:`SoftTargetStore.collate`.

        ``indices`` are sentences of the training set, repeats counted. A ``k`` above the stores' takes what
        there is: the criterion has looked at that before training.
        """
        k = self.k if k is None else min(k, self.k)
        located = self.locate(indices)
        return gather(self._shards, located, target_lengths, pad_to, left_pad, self.tail_temperatures, k)
