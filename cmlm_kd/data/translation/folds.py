"""Folds of a corpus: parts that teachers are kept from, so that each row can have a teacher that has not seen
it (cross-fitting).

A pair's fold is decided by its target sentence and nothing else: equal targets are in one fold, wherever they
stand and however often, and a row's fold is the same in every data-bin with this dictionary.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

FEWEST_FOLDS = 2
"""With one, a teacher would have nothing to learn from."""


@dataclass(frozen=True)
class Fold:
    """One of the parts of a corpus.

    Attributes:
        index: which, 0 to ``count - 1``.
        count: how many there are, at least 2.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, flag: str = "--fold") -> Fold:
        """Return the fold that ``I/N`` names.

        Raises:
            UserError: it names none.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        fold = cls(*map(int, match.groups())) if match else None
        if fold is None or fold.count < FEWEST_FOLDS or fold.index >= fold.count:
            raise UserError(
                f"{flag} is {text!r}; give I/N, such as 0/5, the first of five: N at least {FEWEST_FOLDS}, "
                "I from 0 to N - 1"
            )
        return fold

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, target: NDArray[np.integer[Any]]) -> bool:
        """Return whether a pair belongs to this fold.

        Args:
            target: entries of its target, ``(L,)``, end of sentence included.
        """
        return fold_of(target, self.count) == self.index


def fold_of(target: NDArray[np.integer[Any]], count: int) -> int:
    """Return the fold of a pair, 0 to ``count - 1``, by its target's entries ``(L,)``."""
    return zlib.crc32(np.asarray(target, "<i8").tobytes()) % count
