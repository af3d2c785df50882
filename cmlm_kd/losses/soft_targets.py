"""The loss of ``soft_target_kd`` on blocks of logits, for :func:`cmlm_kd.losses.projection.projected_loss`.

The loss is linear in log-probabilities: weights on the gold entry and on the teacher's k entries, one small
weight on every entry (label smoothing) and, with the tail as a class, one on the log of the mass outside the
k entries. For a token with p = softmax(z) over V entries, weights w_j on the entries i_j, u on every entry,
w_o on the log of the mass m outside, and the sum of all weights c = sum_j w_j + u V + w_o::

    loss     = - sum_j w_j log p[i_j] - u sum_v log p[v] - w_o log m
    gradient = c p - sum_j w_j onehot(i_j) - u - w_o (p / m outside, 0 inside)

So a block needs its softmax, which overwrites the logits, and a handful of numbers per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses.divergences import (
    ANCHORS,
    SmoothingMode,
    entropy,
    expected,
    label_smoothed_nll,
    log_mass_outside,
    negative_log_likelihood,
    repeats,
    rounded_softmax_in_place,
    softmax_in_place,
    sparse_cross_entropy,
    widen,
)
from cmlm_kd.losses.projection import BlockLoss


@dataclass(frozen=True)
class TokenTerms:
    """The parts of the loss per token, each ``(N,)`` in nats: NLL, label-smoothed NLL, KD (times T^2 if so
    defined)."""

    nll: Tensor
    hard: Tensor
    soft: Tensor

    def select(self, rows: Tensor) -> TokenTerms:
        """Return the terms of the tokens ``rows``."""
        return TokenTerms(self.nll[rows], self.hard[rows], self.soft[rows])

    def detach(self) -> TokenTerms:
        """Return the terms without their history."""
        return TokenTerms(self.nll.detach(), self.hard.detach(), self.soft.detach())


def soft_target_terms(
    logits: Tensor,
    target: Tensor,
    teacher: TeacherDistribution | None,
    *,
    epsilon: float,
    mode: SmoothingMode,
    temperature: float = 1.0,
) -> TokenTerms:
    """Return the terms of the loss, one value of each per token.

    Args:
        logits: ``(N, V)`` of the student, any float type; log-probabilities do as well.
        target: ``(N,)`` gold entries.
        teacher: the teacher's distribution at its own temperature, or None for hard labels alone.
        epsilon: label smoothing.
        mode: of label smoothing, see :func:`cmlm_kd.losses.divergences.smoothing_weights`.
        temperature: of the student in the KD term, which is then multiplied by its square.
    """
    wide = widen(logits)  # (N, V)
    log_probs = F.log_softmax(wide, -1)  # (N, V)
    nll = negative_log_likelihood(log_probs, target)  # (N,)
    hard = label_smoothed_nll(log_probs, target, epsilon, mode)  # (N,)
    if teacher is None:
        return TokenTerms(nll, hard, torch.zeros_like(nll))
    tempered = log_probs if temperature == 1.0 else F.log_softmax(wide / temperature, -1)  # (N, V)
    soft = sparse_cross_entropy(tempered, teacher.ids, teacher.probs)  # (N,)
    if teacher.outside is not None:
        soft = soft - expected(teacher.outside[:, None], log_mass_outside(tempered, teacher.ids)[:, None])
    return TokenTerms(nll, hard, temperature**2 * soft)


@dataclass
class WeightedEntries:
    """Weights on log-probabilities, token by token, and what the student says there.

    Attributes:
        ids: ``(N, m)`` int64.
        weights: ``(N, m)``.
        outside: ``(N, 1)``, weight on the log of the mass outside the entries ``ids[:, first:]``, or None.
        first: where those entries begin.
        mass: ``(N, 1)``, the sum of all weights, label smoothing included; None says that it is 1 everywhere.
    """

    ids: Tensor
    weights: Tensor
    outside: Tensor | None = None
    first: int = 0
    mass: Tensor | None = None

    def __post_init__(self) -> None:
        tokens = self.weights.size(0)
        self.log_probs = torch.zeros_like(self.weights)  # (N, m), filled in block by block
        self.normaliser = self.weights.new_zeros(tokens, 1)  # (N, 1)
        self.log_outside = self.weights.new_zeros(tokens, 1)  # (N, 1)

    def observe(self, logits: Tensor, rows: slice) -> None:
        """Note what the logits ``(n, V)`` of some tokens say; overwrite them with probabilities.

        Where the mass outside counts, they become p / (mass outside) there and 0 inside.
        """
        ids = self.ids[rows]  # (n, m)
        entries = logits.gather(1, ids)  # (n, m)
        if self.outside is None:
            normaliser = softmax_in_place(logits)  # (n, 1)
        else:
            normaliser = self._observe_outside(logits, entries[:, self.first :], ids[:, self.first :], rows)
        self.normaliser[rows] = normaliser
        torch.sub(entries, normaliser, out=self.log_probs[rows])  # log p = z - log sum exp z

    def _observe_outside(self, logits: Tensor, inside: Tensor, ids: Tensor, rows: slice) -> Tensor:
        """Return the normaliser ``(n, 1)`` of tokens whose entries ``ids (n, k)`` have logits ``inside``.

        The mass outside is added up over the entries outside. One less the mass inside would be all rounding
        error for a student that is sure.
        """
        logits.scatter_(1, ids, float("-inf"))
        outside = softmax_in_place(logits)  # (n, 1)
        # An entry that is listed twice has its mass once.
        distinct = inside.masked_fill(repeats(ids), float("-inf"))  # (n, k)
        normaliser = torch.logaddexp(outside, distinct.logsumexp(1, keepdim=True))  # (n, 1)
        torch.sub(outside, normaliser, out=self.log_outside[rows])  # (n, 1)
        return normaliser

    def differentiate(self, logits: Tensor, rows: slice) -> None:
        """Overwrite what :meth:`observe` made of the logits ``(n, V)`` with the gradient."""
        if self.outside is not None:
            ids, log_probs = self.ids[rows, self.first :], self.log_probs[rows, self.first :]  # (n, k)
            mass = torch.ones_like(self.normaliser[rows]) if self.mass is None else self.mass[rows]  # (n, 1)
            # Outside, p = m (p / m): c p - w_o p / m = (c m - w_o) (p / m). Inside it is c p alone.
            logits.mul_(mass * self.log_outside[rows].exp() - self.outside[rows])
            logits.scatter_(1, ids, mass * log_probs.exp())
        elif self.mass is not None:
            logits.mul_(self.mass[rows])  # c p
        # Added, not written: where the gold entry is one of the teacher's, both weights count.
        logits.scatter_add_(1, self.ids[rows], self.weights[rows].neg())

    def observe_narrow(self, logits: Tensor, rows: slice, again: Callable[[Tensor], Tensor]) -> None:
        """As :meth:`observe`, for bfloat16 logits and no mass outside; for ``again`` see
        :func:`cmlm_kd.losses.divergences.rounded_softmax_in_place`."""
        entries = logits.gather(1, self.ids[rows]).float()  # (n, m)
        # An estimate may lie below an entry's logit, whose probability would be above 1 and its NLL negative.
        normaliser = rounded_softmax_in_place(logits, again).maximum(entries.amax(1, keepdim=True))  # (n, 1)
        self.normaliser[rows] = normaliser
        torch.sub(entries, normaliser, out=self.log_probs[rows])

    def differentiate_narrow(self, probs: Tensor, rows: slice) -> None:
        """As :meth:`differentiate`, of what :meth:`observe_narrow` wrote, where the sum of weights is 1."""
        ids = self.ids[rows]  # (n, m)
        # What an entry has in all its places, since of those only one is written.
        same = ids.unsqueeze(2) == ids.unsqueeze(1)  # (n, m, m)
        joint = torch.where(same, self.weights[rows].unsqueeze(1), 0.0).sum(2)  # (n, m)
        # Made anew: p - w from a rounded p would be all rounding error where the two are nearly equal.
        found = self.log_probs[rows].exp().sub_(joint)  # (n, m)
        every = torch.arange(len(ids), device=ids.device).unsqueeze(1)  # (n, 1)
        probs[every, ids] = found.to(probs.dtype)  # scatter_ would copy all of them to float32 and back


class SoftTargetBlocks(BlockLoss):
    """``soft_target_kd`` as a :class:`cmlm_kd.losses.projection.BlockLoss`, with the terms of each token.

    Args:
        target: ``(N,)`` gold entries, no padding.
        teacher: what to train against, or None for hard labels alone.
        hard_weight: ``(N,)``, weight of each token's hard term.
        smoothing: weights of the gold entry and of every entry, see
            :func:`cmlm_kd.losses.divergences.smoothing_weights`.
        vocabulary: number of entries ``V``.
        temperature: T of the student in the KD term, which is then multiplied by T^2; 1 in the paper's
            convention.
        soft_weight: ``(N,)``, weight of each token's KD term; None: what the hard term leaves of 1.
    """

    def __init__(
        self,
        target: Tensor,
        teacher: TeacherDistribution | None,
        hard_weight: Tensor,
        smoothing: tuple[float, float],
        vocabulary: int,
        temperature: float = 1.0,
        soft_weight: Tensor | None = None,
    ) -> None:
        self._teacher, self._temperature = teacher, temperature
        self._hard_weight = hard_weight  # (N,)
        self._soft_weight = 1.0 - hard_weight if soft_weight is None else soft_weight  # (N,)
        self._gold, self._uniform = smoothing
        self._vocabulary = vocabulary
        self._smoothing_mass = self._gold + vocabulary * self._uniform  # 1, but for the released code's
        self._sums = torch.zeros_like(hard_weight)  # (N,)
        self._tempered: WeightedEntries | None = None
        ids, k = target.unsqueeze(1), 0 if teacher is None else teacher.ids.size(1)  # (N, 1)
        column = hard_weight.unsqueeze(1)  # (N, 1)
        if teacher is None:
            self._entries = WeightedEntries(ids, torch.empty_like(column), mass=torch.empty_like(column))
        else:
            outside = None if teacher.outside is None else torch.empty_like(column)  # (N, 1)
            if temperature == 1.0:  # one softmax serves both terms
                balanced = soft_weight is None and math.isclose(self._smoothing_mass, 1.0, rel_tol=1e-9)
                self._entries = WeightedEntries(
                    torch.cat((ids, teacher.ids), 1),  # (N, 1+k)
                    hard_weight.new_empty(len(ids), 1 + k),
                    outside,
                    first=1,
                    mass=None if balanced else torch.empty_like(column),
                )
            else:
                self._entries = WeightedEntries(ids, torch.empty_like(column), mass=torch.empty_like(column))
                self._tempered = WeightedEntries(
                    teacher.ids, hard_weight.new_empty(len(ids), k), outside, mass=torch.empty_like(column)
                )
        self._weigh(slice(None))

    def _weigh(self, rows: slice) -> None:
        """Write the weights of some tokens' terms as weights on log-probabilities."""
        hard, teacher = self._hard_weight[rows], self._teacher  # (n,)
        entries = self._entries
        entries.weights[rows, 0] = self._gold * hard
        mass = self._smoothing_mass * hard  # (n,)
        if teacher is not None:
            # A token's loss is h hard + s T^2 kd, and kd's weights are the teacher's probabilities.
            soft = self._temperature**2 * self._soft_weight[rows]  # (n,)
            if self._tempered is None:
                mass = mass + soft
            else:
                entries = self._tempered
                if entries.mass is not None:
                    entries.mass[rows, 0] = soft
            entries.weights[rows, entries.first :] = soft.unsqueeze(1) * teacher.probs[rows]
            if entries.outside is not None and teacher.outside is not None:
                entries.outside[rows, 0] = soft * teacher.outside[rows]
        if self._entries.mass is not None:
            self._entries.mass[rows, 0] = mass

    def start(self, sums: Callable[[], Tensor]) -> None:
        """Keep the sums of logits that label smoothing needs."""
        if self._uniform:
            self._sums = sums()

    def uniform(self) -> Tensor | None:
        """Return what label smoothing adds to the gradient of each row, ``(N,)``."""
        # u sum_v log p[v] has the gradient u - u V p: u V is in c, what is left is the same for all entries.
        return -self._uniform * self._hard_weight if self._uniform else None

    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Note the log-probabilities of a block; turn its logits ``(n, V)`` into the gradient if wanted."""
        tempered = None if self._tempered is None else logits / self._temperature  # (n, V)
        self._entries.observe(logits, rows)
        self._observed(rows)
        if gradient:
            self._entries.differentiate(logits, rows)
        if self._tempered is not None and tempered is not None:
            self._tempered.observe(tempered, rows)
            if gradient:  # d (z / T) / d z = 1 / T
                self._tempered.differentiate(tempered, rows)
                logits.add_(tempered, alpha=1.0 / self._temperature)

    def narrow(self, logits: Tensor, rows: slice, again: Callable[[Tensor], Tensor]) -> bool:
        """Take logits in bfloat16 where one softmax is the whole of the gradient but for a few entries."""
        entries = self._entries
        more = self._tempered is not None or entries.outside is not None or entries.mass is not None
        if more or logits.size(1) < ANCHORS:
            return False
        entries.observe_narrow(logits, rows, again)
        self._observed(rows)
        entries.differentiate_narrow(logits, rows)
        return True

    def _observed(self, rows: slice) -> None:
        """Change the weights of some tokens once their NLL is known; there is nothing to change here."""

    def total(self) -> Tensor:
        """Return the loss, summed over tokens."""
        return (self._hard_weight * self.hard + self._soft_weight * self.soft).sum()

    @property
    def nll(self) -> Tensor:
        """Negative log-likelihood of the gold entry, ``(N,)``."""
        return -self._entries.log_probs[:, 0]

    @property
    def hard(self) -> Tensor:
        """Label-smoothed negative log-likelihood, ``(N,)``."""
        # sum_v log p[v] = sum_v z[v] - V log sum exp z
        log_probs_sum = self._sums - self._vocabulary * self._entries.normaliser.squeeze(1)  # (N,)
        return self._gold * self.nll - self._uniform * log_probs_sum

    @property
    def soft(self) -> Tensor:
        """Cross entropy with the teacher's distribution, times T^2; 0 without a teacher, ``(N,)``."""
        if self._teacher is None:
            return torch.zeros_like(self._hard_weight)
        entries = self._entries if self._tempered is None else self._tempered
        soft = -expected(self._teacher.probs, entries.log_probs[:, entries.first :])  # (N,)
        if self._teacher.outside is not None:
            soft -= expected(self._teacher.outside[:, None], entries.log_outside)
        return self._temperature**2 * soft


@dataclass(frozen=True)
class TeacherDistribution:
    """A distribution over k entries, and optionally over "anything else".

    Attributes:
        ids: ``(N, k)`` int64, entries of the student's vocabulary.
        probs: ``(N, k)``; 0 on tokens without a teacher.
        outside: ``(N,)``, the probability of everything outside ``ids``, or None where the k entries are all
            there is.
    """

    ids: Tensor
    probs: Tensor
    outside: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> TeacherDistribution:
        """Return the distribution of the tokens ``rows``, an index or a mask."""
        outside = None if self.outside is None else self.outside[rows]
        return TeacherDistribution(self.ids[rows], self.probs[rows], outside)

    def entropy(self) -> Tensor:
        """Return the entropy in nats per token, ``(N,)``."""
        inside = entropy(self.probs)  # (N,)
        return inside if self.outside is None else inside + entropy(self.outside.unsqueeze(-1))
