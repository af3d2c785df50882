"""The words nearest to a word, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.augmentation.masked_words import piece_words
from cmlm_kd.errors import UserError
from cmlm_kd.models.word_vectors import iterate_vectors
from cmlm_kd.tokenization.pieces import PieceTokenizer

MOST_FREQUENT = 100_000
"""How many words of a file of vectors are read, as in TinyBERT's released code."""

_BLOCK = 256


class Neighbours(Protocol):
    """A source of the words nearest to a word."""

    def nearest(self, words: Sequence[str], count: int) -> list[list[str]]:
        """Return up to ``count`` words for each, the nearest first; none for a word without a vector."""
        ...


class VectorNeighbours:
    """Neighbours in a table of word vectors.

    A word that is in the table is its own first neighbour, as in TinyBERT's released code: it is one of the
    candidates, and so stays now and then.

    Args:
        words: of the table's rows.
        vectors: ``(n, e)``, any length but 0.
    """

    def __init__(self, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self.words = list(words)
        self.table = _unit(vectors)  # (n, e)
        self.row = {word: i for i, word in reversed(list(enumerate(self.words)))}

    @classmethod
    def read(cls, path: Path, limit: int = MOST_FREQUENT) -> VectorNeighbours:
        """Read the first words of a file of vectors (GloVe's text format or ``.npy``).

        Raises:
            UserError: if the file is damaged or holds nothing, naming its line.
        """
        read = [(word, vector()) for word, vector in islice(iterate_vectors(path), limit)]
        if not read:
            raise UserError(f"{path} holds no vector; give a file of word vectors")
        return cls([word for word, _ in read], np.stack([vector for _, vector in read]))

    def nearest(self, words: Sequence[str], count: int) -> list[list[str]]:
        """See :class:`Neighbours`; words are looked up as spelled, then in lower case."""
        rows = [self.row.get(word, self.row.get(word.lower())) for word in words]
        known = [i for i, row in enumerate(rows) if row is not None]
        found: list[list[str]] = [[] for _ in words]
        queries = self.table[[row for row in rows if row is not None]]  # (q, e)
        for i, near in zip(known, nearest_rows(queries, self.table, count), strict=True):
            found[i] = [self.words[row] for row in near]
        return found


class PieceNeighbours:
    """Neighbours in a model's own word embeddings, for when there is no file of vectors.

    A word's vector is the mean of its tokens' rows; its neighbours are the tokens that are words, without
    its own.

    Args:
        tokenizer: the model's.
        embeddings: ``(tokens, e)``.
    """

    def __init__(self, tokenizer: PieceTokenizer, embeddings: Tensor) -> None:
        self.tokenizer = tokenizer
        self.embeddings = embeddings.detach().float().cpu().numpy()  # (tokens, e)
        words = {i: word for i, word in enumerate(piece_words(tokenizer)) if word and word.isalpha()}
        self.tokens, self.words = list(words), list(words.values())
        self.table = _unit(self.embeddings[self.tokens])  # (n, e)

    def nearest(self, words: Sequence[str], count: int) -> list[list[str]]:
        """See :class:`Neighbours`."""
        if not words:
            return []
        tokens = [encoded.teacher_ids for encoded in self.tokenizer.encode_batch(words)]
        unknown = self.tokenizer.special.unk
        known = [i for i, ids in enumerate(tokens) if ids and unknown not in ids]
        found: list[list[str]] = [[] for _ in words]
        if known:
            queries = _unit(np.stack([self.embeddings[tokens[i]].mean(0) for i in known]))  # (q, e)
            spare = max(len(tokens[i]) for i in known)
            for i, near in zip(known, nearest_rows(queries, self.table, count + spare), strict=True):
                own = set(tokens[i])
                found[i] = [self.words[row] for row in near if self.tokens[row] not in own][:count]
        return found


def nearest_rows(queries: NDArray[np.float32], table: NDArray[np.float32], count: int) -> list[list[int]]:
    """Return the rows of ``table (n, e)`` nearest to each of ``queries (q, e)``, all unit vectors."""
    count = min(count, len(table))
    found: list[list[int]] = []
    rows = torch.from_numpy(table)  # (n, e)
    for start in range(0, len(queries), _BLOCK):
        cosines = torch.from_numpy(queries[start : start + _BLOCK]) @ rows.t()  # (block, n)
        found += cosines.topk(count).indices.tolist()
    return found


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
