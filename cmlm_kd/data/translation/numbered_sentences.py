"""A corpus in a teacher's tokens, kept on disk as numbers until its dictionary is known.

A dictionary is made of the whole training text, so that a token's entry is known only after the last one was
read. Until then each distinct (symbol, teacher id) has a number, four bytes in a file: the text is tokenised
once, and memory doesn't grow with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.translation.vocabulary import EOS, UNK, Vocabulary
from cmlm_kd.tokenization.pieces import Pieces
from cmlm_kd.tokenization.spelling import SPECIALS

_TOKENS_AT_ONCE = 1 << 20


class TokenNumbers(dict[tuple[str, int], int]):
    """Numbers (symbol, teacher id) in the order in which they are first seen; EOS is number 0.

    Args:
        sep: the teacher id that EOS stands for.
    """

    def __init__(self, sep: int) -> None:
        super().__init__()
        self.eos = (SPECIALS[EOS], sep)
        self[self.eos] = 0

    def __missing__(self, token: tuple[str, int]) -> int:
        number = self[token] = len(self)
        return number

    def of(self, sentences: Sequence[Pieces]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Number the tokens of sentences, EOS at the end of each.

        Returns:
            The numbers end to end, ``(sum(sizes),)``, and the sizes, ``(sentences,)``.
        """
        tokens = chain.from_iterable(
            chain(zip(pieces.symbols, pieces.teacher_ids, strict=True), (self.eos,)) for pieces in sentences
        )
        sizes = np.array([len(pieces.symbols) + 1 for pieces in sentences], np.int32)  # (sentences,)
        return np.fromiter(map(self.__getitem__, tokens), np.int32, int(sizes.sum())), sizes

    def usage(self, counts: NDArray[np.int64]) -> Counter[tuple[str, int]]:
        """Return how often each token that occurs does, of ``counts (numbers,)``."""
        return Counter({token: int(counts[number]) for token, number in self.items() if counts[number]})


class NumberedSentences:
    """One language of one split: numbers and sizes of its sentences, each in a file.

    Args:
        path: of the files, without their suffixes; they must not exist.

    Attributes:
        rows: sentences.
    """

    def __init__(self, path: Path) -> None:
        self._numbers, self._sizes = (path.with_name(f"{path.name}.{part}") for part in ("numbers", "sizes"))
        self._counts = np.zeros(0, np.int64)  # (numbers seen,)
        self.rows = 0

    def append(self, numbers: NDArray[np.int32], sizes: NDArray[np.int32]) -> None:
        """Write sentences behind the others; see :meth:`TokenNumbers.of`."""
        for path, values in ((self._numbers, numbers), (self._sizes, sizes)):
            with path.open("ab") as file:
                values.tofile(file)
        more = np.bincount(numbers, minlength=len(self._counts))  # (numbers seen now,)
        more[: len(self._counts)] += self._counts
        self._counts = more
        self.rows += len(sizes)

    def counts(self, length: int) -> NDArray[np.int64]:
        """Return how often each of ``length`` numbers occurs, ``(length,)``."""
        return np.pad(self._counts, (0, length - len(self._counts)))

    def sizes(self) -> NDArray[np.int32]:
        """Return the tokens of each sentence, EOS included, ``(rows,)``, mapped into memory."""
        return np.memmap(self._sizes, np.int32, "r")

    def blocks(self, entries: NDArray[np.uint32]) -> Iterator[NDArray[np.uint32]]:
        """Yield the dictionary entry of every token, end to end, in blocks.

        Args:
            entries: of each number, ``(numbers,)``.
        """
        with self._numbers.open("rb") as file:
            while len(block := np.fromfile(file, np.int32, _TOKENS_AT_ONCE)):
                yield entries[block]


@dataclass(frozen=True)
class Renumbering:
    """The dictionary entry of each number.

    Attributes:
        entries: ``(numbers,)`` uint32.
        unknown: whether that is ``<unk>``, ``(numbers,)`` bool.
        merged: whether the entry stands for another teacher id than the token has, ``(numbers,)`` bool.
    """

    entries: NDArray[np.uint32]
    unknown: NDArray[np.bool_]
    merged: NDArray[np.bool_]

    @classmethod
    def between(cls, numbers: TokenNumbers, vocabulary: Vocabulary) -> Renumbering:
        """Look up every token that has a number."""
        entries = np.array([vocabulary.index(symbol) for symbol, _ in numbers], np.uint32)
        teacher_ids = np.array([teacher_id for _, teacher_id in numbers], np.int32)
        unknown = entries == UNK
        return cls(entries, unknown, (vocabulary.teacher_ids[entries] != teacher_ids) & ~unknown)
