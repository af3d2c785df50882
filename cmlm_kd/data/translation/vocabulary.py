"""The student's dictionary: the teacher's tokens that the training text uses, and the teacher id of each.

fairseq's numbering: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3, then the tokens by falling frequency,
then ``madeupword`` entries up to a multiple of 8.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import read_dictionary
from cmlm_kd.system.arrays import read_array
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds
from cmlm_kd.tokenization.spelling import LITERAL_MARK, PADDING, SPECIALS

BOS, PAD, EOS, UNK = 0, 1, 2, 3
NO_TEACHER_ID = -1
"""The teacher id of padding entries, which stand for nothing."""

_PADDING_FACTOR = 8
_AGAIN = "write the data again with 'cmlm-kd prepare'"


class Vocabulary:
    """Dictionary entries of one language (or both) and the one teacher id each stands for.

    Attributes:
        symbols: all entries, specials first.
        counts: how often the training text uses each, ``0`` for specials.
        teacher_ids: ``(len(symbols),)`` int32; ``-1`` for padding entries.

    Raises:
        UserError: if an entry is there twice, or stands for no teacher id although it is no padding.
    """

    def __init__(self, symbols: list[str], counts: list[int], teacher_ids: NDArray[np.int32]) -> None:
        self.symbols = symbols
        self.counts = counts
        self.teacher_ids = teacher_ids
        self._index = {symbol: i for i, symbol in enumerate(symbols)}
        if len(self._index) != len(symbols):
            twice = next(symbol for symbol, n in Counter(symbols).items() if n > 1)
            raise UserError(
                f"the dictionary holds {twice!r} twice; write the data again with 'cmlm-kd prepare'"
            )
        for i in np.flatnonzero(teacher_ids < 0):
            if not symbols[i].startswith(PADDING):
                raise UserError(
                    f"dictionary entry {symbols[i]!r} stands for no token of the teacher "
                    f"(id {teacher_ids[i]}); write the data again with 'cmlm-kd prepare'"
                )

    @classmethod
    def build(cls, usage: Counter[tuple[str, int]], special: SpecialIds) -> Vocabulary:
        """Make the dictionary of what a training text uses.

        Two teacher ids can share a symbol (WordPiece's ``##t`` and a ``t`` after an apostrophe are both
        written ``t``); the entry then stands for the more frequent one.

        Args:
            usage: how often the training text holds each (symbol, teacher id).
            special: the teacher's special ids.
        """
        by_symbol: dict[str, list[tuple[int, int]]] = {}
        for (symbol, teacher_id), count in usage.items():
            if count and not is_unknown(symbol, teacher_id, special):
                by_symbol.setdefault(symbol, []).append((count, -teacher_id))
        entries = [  # most frequent teacher id, ties to the lower id
            (sum(count for count, _ in candidates), -max(candidates)[1], symbol)
            for symbol, candidates in by_symbol.items()
        ]
        entries.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
        missing = -(len(SPECIALS) + len(entries)) % _PADDING_FACTOR
        symbols = [
            *SPECIALS,
            *(symbol for _, _, symbol in entries),
            *(f"{PADDING}{i:04d}" for i in range(missing)),
        ]
        counts = [0] * len(SPECIALS) + [count for count, _, _ in entries] + [0] * missing
        ids = [special.cls, special.pad, special.sep, special.unk, *(i for _, i, _ in entries)]
        return cls(symbols, counts, np.array(ids + [NO_TEACHER_ID] * missing, np.int32))

    def __len__(self) -> int:
        return len(self.symbols)

    def index(self, symbol: str) -> int:
        """Return the entry of a symbol, that of ``<unk>`` if there is none."""
        return self._index.get(symbol, UNK)

    def check(self, tokenizer: PieceTokenizer) -> None:
        """Compare the spelling of every entry with that of the one teacher token it stands for.

        Raises:
            UserError: if they differ by more than a ▁.
        """
        for symbol, teacher_id in zip(
            self.symbols[len(SPECIALS) :], self.teacher_ids[len(SPECIALS) :], strict=True
        ):
            if teacher_id == NO_TEACHER_ID or LITERAL_MARK in symbol:
                continue
            known = int(teacher_id) < len(tokenizer)
            if not known or tokenizer.symbol(int(teacher_id)).lstrip("▁") != symbol.lstrip("▁"):
                spelled = repr(tokenizer.symbol(int(teacher_id))) if known else "nothing"
                raise UserError(
                    f"dictionary entry {symbol!r} stands for teacher id {teacher_id}, which the "
                    f"tokenizer spells {spelled}; write the data again with 'cmlm-kd prepare'"
                )

    def save(self, directory: Path, language: str) -> None:
        """Write ``dict.LANG.txt`` and ``dict.LANG.teacher_ids.npy``."""
        lines = zip(self.symbols[len(SPECIALS) :], self.counts[len(SPECIALS) :], strict=True)
        text = "".join(f"{symbol} {count}\n" for symbol, count in lines)
        (directory / f"dict.{language}.txt").write_text(text, encoding="utf-8", newline="\n")
        np.save(directory / f"dict.{language}.teacher_ids.npy", self.teacher_ids)

    @classmethod
    def load(cls, directory: Path, language: str) -> Vocabulary:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: if a file is missing or damaged, or the two do not fit each other.
        """
        entries = read_dictionary(directory / f"dict.{language}.txt")
        path = directory / f"dict.{language}.teacher_ids.npy"
        if not path.is_file():
            raise UserError(
                f"{path} is missing, so nothing tells which teacher token an entry stands for; "
                "write the data with 'cmlm-kd prepare'"
            )
        teacher_ids = np.array(read_array(path, np.int32, (None,), _AGAIN))
        symbols = [*SPECIALS, *(symbol for symbol, _ in entries)]
        if len(teacher_ids) != len(symbols):
            raise UserError(
                f"{path} has {len(teacher_ids)} ids, the dictionary {len(symbols)} entries; {_AGAIN}"
            )
        return cls(symbols, [0] * len(SPECIALS) + [count for _, count in entries], teacher_ids)


def is_unknown(symbol: str, teacher_id: int, special: SpecialIds) -> bool:
    """Tell whether a token is fairseq's ``<unk>``: unknown to the teacher, and no ▁ of the text."""
    return symbol in SPECIALS or (teacher_id == special.unk and LITERAL_MARK not in symbol)
