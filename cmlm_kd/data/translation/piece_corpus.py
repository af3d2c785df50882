"""A corpus in a teacher's pieces, held as numbers until its dictionary is known.

Four bytes a piece: millions of pairs fit in memory, where lists of strings would not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.translation.vocabulary import EOS, UNK, Vocabulary
from cmlm_kd.tokenization.pieces import Pieces
from cmlm_kd.tokenization.spelling import SPECIALS


class PieceTable(dict[tuple[str, int], int]):
    """Numbers (symbol, teacher id) in the order in which they are first seen; EOS is number 0.

    Args:
        sep: the teacher id that EOS stands for.
    """

    def __init__(self, sep: int) -> None:
        super().__init__()
        self.eos = (SPECIALS[EOS], sep)
        self[self.eos] = 0

    def __missing__(self, piece: tuple[str, int]) -> int:
        number = self[piece] = len(self)
        return number

    def numbers(self, sentences: Sequence[Pieces]) -> Sentences:
        """Return sentences as numbers, EOS at the end of each."""
        pieces = chain.from_iterable(
            chain(zip(pieces.symbols, pieces.teacher_ids, strict=True), (self.eos,)) for pieces in sentences
        )
        sizes = np.array([len(pieces.symbols) + 1 for pieces in sentences], np.int32)  # (rows,)
        return Sentences(np.fromiter(map(self.__getitem__, pieces), np.int32, int(sizes.sum())), sizes)

    def usage(self, corpora: Iterable[Sentences]) -> Counter[tuple[str, int]]:
        """Count how often sentences hold each piece."""
        counts = np.zeros(len(self), np.int64)
        for sentences in corpora:
            counts += np.bincount(sentences.pieces, minlength=len(self))
        return Counter({piece: int(counts[number]) for piece, number in self.items() if counts[number]})


@dataclass(frozen=True)
class Sentences:
    """Sentences end to end.

    Attributes:
        pieces: their numbers or dictionary entries, EOS included, ``(sum(sizes),)``.
        sizes: pieces of each sentence, ``(rows,)`` int32.
    """

    pieces: NDArray[np.integer]
    sizes: NDArray[np.int32]

    @classmethod
    def concatenate(cls, parts: Sequence[Sentences]) -> Sentences:
        """Join parts of a corpus, at least one."""
        return cls(
            np.concatenate([part.pieces for part in parts]), np.concatenate([part.sizes for part in parts])
        )


@dataclass(frozen=True)
class Translation:
    """From the numbers of a table to the entries of a dictionary.

    Attributes:
        entries: dictionary entry of each number, ``(numbers,)`` uint32.
        unknown: whether that is ``<unk>``, ``(numbers,)`` bool.
        merged: whether the entry stands for another teacher id than the piece has, ``(numbers,)`` bool.
    """

    entries: NDArray[np.uint32]
    unknown: NDArray[np.bool_]
    merged: NDArray[np.bool_]

    @classmethod
    def between(cls, table: PieceTable, vocabulary: Vocabulary) -> Translation:
        """Look up every piece of a table."""
        entries = np.array([vocabulary.index(symbol) for symbol, _ in table], np.uint32)
        teacher_ids = np.array([teacher_id for _, teacher_id in table], np.int32)
        unknown = entries == UNK
        return cls(entries, unknown, (vocabulary.teacher_ids[entries] != teacher_ids) & ~unknown)
