"""Batches of stored soft targets: rows of sentences beside the tokens of a padded batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.needs import NOTHING_ELSE, SOFT_TARGETS, ModelDescription, Request
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.errors import UserError

_Float = TypeVar("_Float", np.float16, np.float32)


class SentenceTargets(NamedTuple):
    """The soft targets of one sentence of L tokens, as read-only views of the file."""

    ids: NDArray[Any]  # (L, k)
    logits: NDArray[np.float16]  # (L, k)
    tail: NDArray[np.float16]  # (L, n)


class StoredSoftTargets(Sequence["SentenceTargets | None"], SignalSource):
    """Soft targets on disk as a source; item i belongs to sentence i, None where the teacher has no row.

    Attributes:
        k: entries per token.
        tail_temperatures: the n temperatures of the tail.
        vocabulary_size: entries of the target dictionary.
        ids_dtype: the type of the ids on disk, uint16 or uint32.
    """

    by_row = True
    k: int
    tail_temperatures: tuple[float, ...]
    vocabulary_size: int
    ids_dtype: np.dtype[Any]

    @abstractmethod
    def __getitem__(self, index: int) -> SentenceTargets | None:  # type: ignore[override]
        """Return the soft targets of sentence ``index``."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the log calls it."""

    @property
    def place(self) -> str:
        """What messages call it."""
        return self.name

    @property
    @abstractmethod
    def rows_without_teacher(self) -> int:
        """Sentences without a teacher row."""

    @property
    def rows(self) -> int:
        """Sentences that it is for."""
        return len(self)

    @property
    def description(self) -> ModelDescription:
        """Soft targets and nothing else."""
        return ModelDescription(
            self.name,
            frozenset({SOFT_TARGETS}),
            vocabulary=self.vocabulary_size,
            topk=self.k,
            tail_temperatures=self.tail_temperatures,
        )

    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return the soft targets of a batch's rows beside its target; see :meth:`SignalSource.signal`.

        Args:
            batch: its rows, and its target ``(B, T)`` on the CPU, padded on either side.
            request: ``topk`` entries per token, at most the store's; the mass of the others joins the tail.
            dropout: of no meaning here.

        Returns:
            tensors ``(B, T, ...)``, zero where ``valid`` is False.

        Raises:
            UserError: a sentence is not as long as its row, or more entries are asked for than there are.
            ValueError: the batch has no target.
        """
        if batch.target is None:
            raise ValueError(f"{self.place}: soft targets need the batch's target")
        tokens = batch.target.ne(batch.padding_idx).numpy()  # (B, T)
        return TeacherSignal(soft_targets=self._beside(batch.rows.tolist(), tokens, request.topk))

    def _beside(self, rows: list[int], tokens: NDArray[np.bool_], k: int | None) -> SoftTargets:
        """Copy the soft targets of ``rows`` next to the tokens of a batch, ``(B, T)``, False on padding."""
        k = self._checked(k)
        sentences = [self[row] for row in rows]
        stored = np.array([0 if sentence is None else len(sentence.ids) for sentence in sentences])  # (B,)
        check_lengths(stored, tokens.sum(axis=1))
        valid = tokens & (stored > 0)[:, None]  # (B, T)
        (batch, pad_to), width = tokens.shape, len(self.tail_temperatures)
        ids = np.zeros((batch * pad_to, self.k), self.ids_dtype)  # (B*T, K)
        logits = np.zeros((batch * pad_to, self.k), np.float16)  # (B*T, K)
        tail = np.zeros((batch * pad_to, width), np.float16)  # (B*T, n)
        starts = np.arange(batch) * pad_to + tokens.argmax(axis=1)  # (B,), of each sentence's first token
        # One sentence after the other: faster than index arithmetic, and no slower when each comes from
        # another shard.
        for sentence, start in zip(sentences, starts.tolist(), strict=True):
            if sentence is not None:
                end = start + len(sentence[0])
                ids[start:end], logits[start:end], tail[start:end] = sentence
        if k < self.k:
            tail = fold_tail(logits, tail, self.tail_temperatures, k)
        return SoftTargets(
            torch.from_numpy(ids[:, :k].astype(np.int64)).view(batch, pad_to, k),  # (B, T, k)
            torch.from_numpy(np.ascontiguousarray(logits[:, :k])).view(batch, pad_to, k),  # (B, T, k)
            torch.from_numpy(tail).view(batch, pad_to, width),  # (B, T, n)
            torch.from_numpy(valid),  # (B, T)
            self.tail_temperatures,
        )

    def _checked(self, k: int | None) -> int:
        if k is None:
            return self.k
        if not 1 <= k <= self.k:
            raise UserError(
                f"store: top {k} asked for, {self.place} has {self.k} entries per token; choose 1 to {self.k}"
            )
        return k


def check_lengths(stored: NDArray[np.integer[Any]], targets: NDArray[np.integer[Any]]) -> None:
    """Refuse teacher rows that are not as long as their sentences; rows without a teacher have length 0.

    Raises:
        UserError: naming the first such sentence and both lengths.
    """
    wrong = differing(stored, targets)
    if wrong.size:
        first = int(wrong[0])
        raise UserError(
            f"store: {wrong.size} of {targets.size} target sentences differ in length from their teacher row "
            f"(first: number {first}, {targets[first]} tokens, its row has {stored[first]}); the store was "
            "dumped for other data: run 'cmlm-kd dump' for this data-bin"
        )


def differing(stored: NDArray[np.integer[Any]], targets: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Return which rows have a teacher and another length than their sentence."""
    return np.flatnonzero((stored != targets) & (stored != 0))


def fold_tail(
    logits: NDArray[_Float], tail: NDArray[_Float], temperatures: tuple[float, ...], k: int
) -> NDArray[_Float]:
    """Return the tail that goes with the first ``k`` entries: the mass of the others joins it.

    Args:
        logits: ``(N, K)`` best first.
        tail: ``(N, n)`` log-sum-exp of all but the K entries, divided by each temperature before the
            exponential.
        temperatures: the n temperatures.
        k: entries that stay, at most K.
    """
    dropped = logits[:, k:].astype(np.float32)  # (N, K-k)
    folded = [
        np.logaddexp(
            tail[:, column].astype(np.float32), np.logaddexp.reduce(dropped / temperature, axis=1)
        )  # (N,)
        for column, temperature in enumerate(temperatures)
    ]
    return np.stack(folded, axis=1).astype(tail.dtype)  # (N, n)
