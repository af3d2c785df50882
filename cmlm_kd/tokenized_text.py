"""Plain text in a teacher's pieces, held in one flat array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.text import read_lines
from cmlm_kd.tokenizers import PieceTokenizer

LINES_AT_ONCE = 10_000
"""Bounds the memory that a tokenizer's intermediate results take."""


class TokenizedText:
    """The lines of a text as piece ids, without special tokens.

    Args:
        sentences: ids of every line, each at least one.
        truncated: how many lines were cut.
    """

    def __init__(self, sentences: Sequence[NDArray[np.int32]], truncated: int = 0) -> None:
        self.truncated = truncated
        self.sizes = np.array([len(ids) for ids in sentences], np.int32)  # (rows,)
        self._ends = np.cumsum(self.sizes, dtype=np.int64)  # (rows,)
        self._pieces = np.concatenate(sentences)  # (all pieces,)

    @classmethod
    def read(cls, paths: Sequence[Path], tokenizer: PieceTokenizer, longest: int) -> TokenizedText:
        """Tokenise the lines of ``paths`` that hold more than space, cut to ``longest`` pieces.

        Raises:
            UserError: if a file is missing or not UTF-8, or there is no text at all.
        """
        lines = [line for path in paths for line in read_lines(path) if line.strip()]
        sentences = []
        truncated = 0
        for start in range(0, len(lines), LINES_AT_ONCE):
            for pieces in tokenizer.encode_batch(lines[start : start + LINES_AT_ONCE]):
                truncated += len(pieces.teacher_ids) > longest
                if pieces.teacher_ids:  # a tokenizer may drop all of a line, such as control characters
                    sentences.append(np.array(pieces.teacher_ids[:longest], np.int32))
        if not sentences:
            raise UserError(f"no text in {', '.join(map(str, paths))}; give a file with one sentence a line")
        return cls(sentences, truncated)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        end = self._ends[row]
        return self._pieces[end - self.sizes[row] : end]
