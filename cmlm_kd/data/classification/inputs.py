"""Inputs of classifiers: ids of sentences, padded batches, and which sentence of a pair each id is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range
from cmlm_kd.tokenization.loading import encoding_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLES_AT_ONCE = 10_000
"""Bounds the memory that a tokenizer's intermediate results take."""


class Encoded(NamedTuple):
    """One example as a model reads it.

    Attributes:
        input_ids: ``(S,)`` int32.
        token_type_ids: ``(S,)`` int8, 0 for the first sentence, 1 for the second.
        empty: sentences, 0 or 1, without any token but special ones, where the tokenizer can tell.
    """

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int8]
    empty: tuple[int, ...] = ()


class SentenceInputs(Protocol):
    """What turns sentences into a model's ids.

    Attributes:
        hash: of everything that decides the ids but ``max_length``.
        pad: id of padding.
        max_length: longest input, in ids; longer ones are cut.
    """

    hash: str
    pad: int
    max_length: int

    def encode(self, first: Sequence[str], second: Sequence[str] | None) -> list[Encoded]:
        """Return the ids of sentences, or of pairs of sentences."""


class HuggingFaceInputs:
    """``[CLS] first [SEP] second [SEP]`` in a Hugging Face tokenizer's ids; see :class:`SentenceInputs`.

    Of a pair that is too long, the longer sentence is cut first.

    Args:
        tokenizer: a fast one.
        max_length: longest input in tokens, special tokens included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pad = int(tokenizer.pad_token_id)  # type: ignore[arg-type]
        self.hash = encoding_hash(tokenizer)

    def encode(self, first: Sequence[str], second: Sequence[str] | None) -> list[Encoded]:
        """Return the ids of sentences, or of pairs of sentences."""
        texts: Any = (list(first),) if second is None else (list(first), list(second))
        batch = self.tokenizer(*texts, truncation="longest_first", max_length=self.max_length)
        return [_as_read(encoding, len(texts)) for encoding in batch.encodings or []]


def _as_read(encoding: Any, sentences: int) -> Encoded:
    """Return what a tokenizer made of one or two sentences; types are 1 from the second one on, as BERT
    counts."""
    owners = encoding.sequence_ids  # None for special tokens
    types = np.zeros(len(encoding.ids), np.int8)  # (S,)
    if sentences == 2 and 1 in owners:
        types[owners.index(1) :] = 1
    empty = tuple(sentence for sentence in range(sentences) if sentence not in owners)
    return Encoded(np.array(encoding.ids, np.int32), types, empty)


class EncodedExamples:
    """The ids of all examples in flat arrays.

    Args:
        examples: sentences or pairs.
        inputs: the model's.

    Attributes:
        sizes: ``(N,)`` ids of each example.
        empty: (row, sentence) of each sentence without tokens; see :class:`Encoded`.
    """

    def __init__(self, examples: Examples, inputs: SentenceInputs) -> None:
        encoded: list[Encoded] = []
        for start in range(0, len(examples), EXAMPLES_AT_ONCE):
            part = slice(start, start + EXAMPLES_AT_ONCE)
            second = None if examples.second is None else examples.second[part]
            encoded += inputs.encode(examples.first[part], second)
        self.pad = inputs.pad
        self.sizes = np.array([len(row.input_ids) for row in encoded], np.int32)  # (N,)
        self.empty = [(row, sentence) for row, one in enumerate(encoded) for sentence in one.empty]
        self._ends = np.cumsum(self.sizes, dtype=np.int64)  # (N,)
        self._ids = np.concatenate([row.input_ids for row in encoded])  # (all ids,)
        self._types = np.concatenate([row.token_type_ids for row in encoded])  # (all ids,)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Encoded:
        part = slice(self._ends[row] - self.sizes[row], self._ends[row])
        return Encoded(self._ids[part], self._types[part])

    def collate(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return the right-padded batch of the examples ``rows``; see :func:`pad_batch`."""
        return pad_batch([self[row] for row in rows], self.pad)

    def by_length(self) -> NDArray[np.intp]:
        """Return all rows from the shortest to the longest, ``(N,)``; equally long ones in their order."""
        return np.argsort(self.sizes, kind="stable")

    def batches(self, batch_size: int, device: str = "cpu") -> Iterator[dict[str, Tensor]]:
        """Yield all examples in batches, as :meth:`by_length` orders them: little of them is padding.

        Args:
            batch_size: examples at once.
            device: where the batches are to be.

        Raises:
            UserError: for a batch size below 1.
        """
        check_range("--batch-size", batch_size, AT_LEAST_ONE)
        order = self.by_length()  # (N,)
        for start in range(0, len(order), batch_size):
            batch = self.collate(order[start : start + batch_size].tolist())
            yield {name: tensor.to(device) for name, tensor in batch.items()}


def pad_batch(encoded: Sequence[Encoded], pad: int) -> dict[str, Tensor]:
    """Return ``input_ids``, ``attention_mask`` and ``token_type_ids``, each ``(B, S)`` int64,
    right-padded."""
    shape = len(encoded), max(len(row.input_ids) for row in encoded)
    ids = np.full(shape, pad, np.int64)  # (B, S)
    mask, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)  # (B, S)
    for i, row in enumerate(encoded):
        length = len(row.input_ids)
        ids[i, :length], types[i, :length], mask[i, :length] = row.input_ids, row.token_type_ids, 1
    arrays: Mapping[str, NDArray[np.int64]] = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": types,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
