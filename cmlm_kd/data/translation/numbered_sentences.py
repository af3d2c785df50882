"""A corpus in a teacher's tokens, kept on disk as numbers until its dictionary is known.

A dictionary is made of the whole training text, so that a token's entry is known only after the last one was
read. Until then each distinct (symbol, teacher id) has a number, four bytes in a file: the text is tokenised
once, and memory doesn't grow with it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.translation.vocabulary import EOS, UNK, Vocabulary
from cmlm_kd.tokenization.pieces import Pieces
from cmlm_kd.tokenization.spelling import SPECIALS

_TOKENS_AT_ONCE = 1 << 16
_EOS_NUMBER = 0


class TokenNumbers(dict[tuple[str, int], int]):
    """Numbers (symbol, teacher id) in the order in which they are first seen; EOS is number 0.

    Args:
        sep: the teacher id that EOS stands for.
    """

    def __init__(self, sep: int) -> None:
        super().__init__()
        self[SPECIALS[EOS], sep] = _EOS_NUMBER

    def __missing__(self, token: tuple[str, int]) -> int:
        number = self[token] = len(self)
        return number

    def usage(self, counts: NDArray[np.int64]) -> Counter[tuple[str, int]]:
        """Return how often each token that occurs does, of ``counts (numbers,)``."""
        return Counter({token: int(counts[number]) for token, number in self.items() if counts[number]})


class NumberedSentences:
    """One language of one split: numbers and sizes of its sentences, each in a file.

    Args:
        path: of the files, without their suffixes; they must not exist.
        numbers: of all tokens; new ones are added.

    Attributes:
        rows: sentences.
    """

    def __init__(self, path: Path, numbers: TokenNumbers) -> None:
        self._numbers_file, self._sizes_file = (
            path.with_name(f"{path.name}.{part}") for part in ("numbers", "sizes")
        )
        self._number_of = numbers.__getitem__
        self._numbers, self._sizes = array("i"), array("i")  # of what is not written yet
        self._counts = np.zeros(0, np.int64)  # (numbers seen,)
        self.rows = 0

    def append(self, sentence: Pieces) -> None:
        """Add a sentence behind the others, EOS at its end."""
        self._numbers.extend(map(self._number_of, zip(sentence.symbols, sentence.teacher_ids, strict=True)))
        self._numbers.append(_EOS_NUMBER)
        self._sizes.append(len(sentence.symbols) + 1)
        self.rows += 1
        if len(self._numbers) >= _TOKENS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what was added, which is to be done before anything is read."""
        more = np.bincount(self._numbers, minlength=len(self._counts))  # (numbers seen now,)
        more[: len(self._counts)] += self._counts
        self._counts = more
        for path, values in ((self._numbers_file, self._numbers), (self._sizes_file, self._sizes)):
            with path.open("ab") as file:
                values.tofile(file)
            del values[:]

    def counts(self, length: int) -> NDArray[np.int64]:
        """Return how often each of ``length`` numbers occurs, ``(length,)``."""
        return np.pad(self._counts, (0, length - len(self._counts)))

    def sizes(self) -> Iterator[NDArray[np.int32]]:
        """Yield the tokens of each sentence, EOS included, ``(rows,)`` together, in blocks."""
        return _blocks(self._sizes_file)

    def blocks(self, entries: NDArray[np.uint32]) -> Iterator[NDArray[np.uint32]]:
        """Yield the dictionary entry of every token, end to end, in blocks.

        Args:
            entries: of each number, ``(numbers,)``.
        """
        return (entries[block] for block in _blocks(self._numbers_file))


def _blocks(path: Path) -> Iterator[NDArray[np.int32]]:
    with path.open("rb") as file:
        while len(block := np.fromfile(file, np.int32, _TOKENS_AT_ONCE)):
            yield block


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
