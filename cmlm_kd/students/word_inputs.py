"""From text to word ids, for students that read words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmlm_kd.classification.inputs import Encoded
from cmlm_kd.errors import UserError
from cmlm_kd.word_vocabulary import WordVocabulary


class WordInputs:
    """Words of one sentence, or of two after each other, with nothing between or around them.

    A :class:`cmlm_kd.classification.inputs.SentenceInputs`.

    Args:
        vocabulary: the words that are known.
        max_length: longest input in words, or 0 for no limit; of a pair the longer sentence is cut first.

    Raises:
        UserError: if an input could not even be one word of each sentence.
    """

    def __init__(self, vocabulary: WordVocabulary, max_length: int = 0) -> None:
        if max_length < 0 or max_length == 1:
            raise UserError(f"--max-length is {max_length}, it must be at least 2 words, or 0 for no limit")
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.pad = vocabulary.padding_idx
        content = json.dumps([vocabulary.words, vocabulary.lowercase])
        self.hash = hashlib.sha256(content.encode()).hexdigest()

    def encode(self, first: Sequence[str], second: Sequence[str] | None = None) -> list[Encoded]:
        """Return the word ids of every example; token types are 0 on the first sentence, 1 on the second."""
        firsts = [self.vocabulary.encode(text) for text in first]
        seconds = [[]] * len(firsts) if second is None else [self.vocabulary.encode(text) for text in second]
        return [self._encoded(*self._cut(*pair)) for pair in zip(firsts, seconds, strict=True)]

    @staticmethod
    def _encoded(first: list[int], second: list[int]) -> Encoded:
        types = np.repeat(np.array([0, 1], np.int8), (len(first), len(second)))  # (S,)
        return Encoded(np.array(first + second, np.int32), types)

    def _cut(self, first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
        if not self.max_length or len(first) + len(second) <= self.max_length:
            return first, second
        half = self.max_length // 2
        # The shorter sentence stays whole as long as it takes no more than its half.
        room_for_second = max(half, self.max_length - len(first)) if second else 0
        second = second[:room_for_second]
        return first[: self.max_length - len(second)], second

    def to_dict(self) -> dict[str, Any]:
        """Return the inputs as plain values."""
        return {
            "words": self.vocabulary.words,
            "lowercase": self.vocabulary.lowercase,
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> WordInputs:
        """Rebuild the inputs from :meth:`to_dict`."""
        return cls(WordVocabulary(fields["words"], lowercase=fields["lowercase"]), fields["max_length"])
