"""Several stores as the soft targets of one training set."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from cmlm_kd.errors import UserError
from cmlm_kd.store.batches import SentenceTargets, StoredSoftTargets
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


class ConcatenatedStores(StoredSoftTargets):
    """The soft targets of corpora that follow each other, each perhaps repeated; repeats count as sentences.

    Attributes:
        parts: the corpora, in order.

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
        self.k, self.tail_temperatures = first.k, first.tail_temperatures
        self.vocabulary_size, self.ids_dtype = first.vocabulary_size, first.ids_dtype
        self._ends = list(accumulate(part.rows * part.repeats for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> SentenceTargets | None:  # type: ignore[override]
        """Return the soft targets of sentence ``index`` of the training set."""
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)} in several stores")
        number = bisect_right(self._ends, index)
        part = self.parts[number]
        if part.store is None:
            return None
        return part.store[(index - (self._ends[number - 1] if number else 0)) % part.rows]

    def __reduce__(self) -> tuple[Callable[..., ConcatenatedStores], tuple[tuple[Part, ...]]]:
        return ConcatenatedStores, (self.parts,)

    @property
    def name(self) -> str:
        """The stores in order, and the parts without one."""
        return ", ".join("hard labels" if part.store is None else part.store.name for part in self.parts)

    @property
    def rows_without_teacher(self) -> int:
        """Sentences without a teacher row, repeats counted."""
        return sum(
            part.repeats * (part.rows if part.store is None else part.store.rows_without_teacher)
            for part in self.parts
        )
