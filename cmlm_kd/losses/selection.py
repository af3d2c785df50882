"""Which target tokens learn from the teacher, by the student's own negative log-likelihood of the gold entry.

Every rule comes down to one number, the gate: tokens whose NLL is at or above it listen, the others learn
from their hard label alone. A rule that looks at the whole batch knows its gate only when every token has
been projected. :class:`SelectiveBlocks` therefore guesses with the gate that the rule expects, and mends the
few tokens that it guessed wrong: the loss and its gradient are exact, and no matrix of logits is held.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.losses.projection import BlockLoss
from cmlm_kd.losses.soft_targets import SoftTargetBlocks, TeacherDistribution


class Gate(ABC):
    """A rule that says from which NLL on a token listens to the teacher.

    Attributes:
        expected: the gate that the next batch probably has, in nats.
    """

    expected: float | Tensor = math.inf

    @abstractmethod
    def of(self, nll: Tensor) -> float | Tensor:
        """Return the gate of a batch, in nats; called once a batch, for the rule may keep what it saw.

        Args:
            nll: ``(C,)`` of the tokens that have a teacher, float; C may be 0.
        """


class ConfidenceGate(Gate):
    """Tokens whose gold entry the student gives a probability of at most ``threshold``, in (0, 1]."""

    def __init__(self, threshold: float) -> None:
        self.expected = -math.log(threshold)

    def of(self, nll: Tensor) -> float | Tensor:
        """Return the same number for every batch."""
        return self.expected


class BatchGate(Gate):
    """The ``share``, in (0, 1], of a batch's tokens that has the highest NLL; equal values all listen."""

    def __init__(self, share: float) -> None:
        self.share = share

    def of(self, nll: Tensor) -> float | Tensor:
        """Return the lowest NLL of those that listen; see :meth:`Gate.of`."""
        if len(nll):
            self.expected = lowest_of_highest(nll, self.share)
        return self.expected


class QueueGate(Gate):
    """As :class:`BatchGate`, over this batch and what is kept of the batches before it.

    Args:
        share: in (0, 1].
        size: values that are kept.
        mode: ``fifo`` keeps the last ``size`` values. ``original``, as the released code, drops as many as
            come as soon as there would be ``size`` or more, so that it holds fewer, and one batch of more
            than ``size`` stays whole.
    """

    def __init__(self, share: float, size: int, mode: Literal["fifo", "original"] = "fifo") -> None:
        self.share, self.size, self.mode = share, size, mode
        self.queue: Tensor | None = None

    def of(self, nll: Tensor) -> float | Tensor:
        """Return the lowest NLL of those in the queue that would listen; see :meth:`Gate.of`."""
        if len(nll):
            before = nll.new_empty(0) if self.queue is None else self.queue.to(nll)
            if self.mode == "fifo":
                self.queue = torch.cat((before, nll))[-self.size :]
            else:
                full = len(before) + len(nll) >= self.size
                self.queue = torch.cat((before[len(nll) :] if full else before, nll))
            self.expected = lowest_of_highest(self.queue, self.share)
        return self.expected


def lowest_of_highest(values: Tensor, share: float) -> Tensor:
    """Return the lowest of the ``ceil(share C)`` highest values of ``(C,)``, C at least 1: ``()``."""
    highest = values.topk(math.ceil(len(values) * share), sorted=False).values
    return highest.min()


def term_weights(listening: Tensor, alpha: float, added: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the weights of hard and KD term, ``(N,)`` each.

    Args:
        listening: ``(N,)`` bool.
        alpha: weight of the KD term where a token listens.
        added: whether the hard term has weight 1 everywhere, instead of what the KD term leaves of it.
        dtype: of the weights.
    """
    soft = alpha * listening.to(dtype)  # (N,)
    return (torch.ones_like(soft) if added else 1.0 - soft), soft


class SelectiveBlocks(SoftTargetBlocks):
    """``selective_kd`` as a :class:`cmlm_kd.losses.projection.BlockLoss`.

    Args:
        target: ``(N,)`` gold entries, no padding.
        teacher: what to train against.
        taught: ``(N,)`` bool, tokens that have a teacher.
        gate: which of them listen.
        alpha, added: see :func:`term_weights`.
        smoothing, vocabulary, temperature: see :class:`SoftTargetBlocks`.

    Attributes:
        listening: ``(N,)`` bool, tokens that listen; known when all logits were seen.
    """

    def __init__(
        self,
        target: Tensor,
        teacher: TeacherDistribution,
        taught: Tensor,
        gate: Gate,
        *,
        alpha: float,
        added: bool,
        smoothing: tuple[float, float],
        vocabulary: int,
        temperature: float = 1.0,
    ) -> None:
        ones = torch.ones_like(teacher.probs[:, 0])  # (N,)
        nothing = torch.zeros_like(ones) if added else None
        self._gate, self._alpha, self._added = gate, alpha, added
        self._target, self._taught, self._smoothing = target, taught, smoothing
        self._guess = gate.expected
        self.listening = torch.zeros_like(taught)  # (N,)
        super().__init__(target, teacher, ones, smoothing, vocabulary, temperature, nothing)

    def _observed(self, rows: slice) -> None:
        nll = -self._entries.log_probs[rows, 0]  # (n,)
        listening = self._taught[rows] & (nll >= self._guess)  # (n,)
        self.listening[rows] = listening
        hard, soft = term_weights(listening, self._alpha, self._added, nll.dtype)
        self._hard_weight[rows], self._soft_weight[rows] = hard, soft
        self._weigh(rows)

    def mend(self) -> tuple[Tensor, BlockLoss] | None:
        """Return the tokens that were guessed wrong, and what their weights lack."""
        nll, teacher = self.nll, self._teacher  # (N,)
        listening = self._taught & (nll >= self._gate.of(nll[self._taught]))  # (N,)
        wrong = (listening != self.listening).nonzero().squeeze(1)  # (M,)
        hard, soft = term_weights(listening, self._alpha, self._added, nll.dtype)
        lacking = (hard - self._hard_weight)[wrong], (soft - self._soft_weight)[wrong]  # (M,) each
        self.listening, self._hard_weight, self._soft_weight = listening, hard, soft
        if teacher is None or not len(wrong):
            return None
        return wrong, SoftTargetBlocks(
            self._target[wrong],
            teacher[wrong],
            lacking[0],
            self._smoothing,
            self._vocabulary,
            self._temperature,
            lacking[1],
        )
