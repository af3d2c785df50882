"""The loss of ``tie_kd``: the whole distribution of a teacher, and the order of what both sides find likely.

For a token with probabilities q of the teacher and p of the student, the teacher's k best entries a_1 .. a_k,
best first, and the student's b_1 .. b_k::

    divergence = sum_v q[v] (log q[v] - log p[v])
    ranking    = sum_i max(0, p[a_i] - p[a_1])                              the teacher's first is first
               + sum_i sum_j [q[a_i] > q[b_j]] max(0, p[b_j] - p[a_i])      nothing overtakes its k best

``original``, the released code, writes log(q + 1e-6) and log(p + 1e-6). Which entries are best, and q, have
no gradient. Once it is known which of the maxima are above 0, the ranking loss is linear in p: an entry has a
weight w of 1 for each maximum that it raises and -1 for each that it lowers, or half of that where two
probabilities are equal::

    ranking     = sum_v w[v] p[v]
    d / d z[v]  = p[v] (w[v] - ranking)                                     z = log p + constant

So a block needs its softmax, the teacher's, and 2 k weights per token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses.dense_teacher import TeacherLogits, TeacherProjection
from cmlm_kd.losses.divergences import kl_of_log_probs, softmax_in_place, widen
from cmlm_kd.losses.soft_targets import SoftTargetBlocks

ADDED = 1e-6
"""What the released code adds to a probability before it takes the logarithm."""


@dataclass(frozen=True)
class RankingTerms:
    """The parts of the loss per token, and what the student says.

    Attributes:
        divergence: ``(N,)`` in nats.
        ranking: ``(N,)``, in probabilities.
        said: ``(N,)``, the student's best entry that is not padding.
        agrees: ``(N,)`` bool, whether its best entry is the teacher's.
    """

    divergence: Tensor
    ranking: Tensor
    said: Tensor
    agrees: Tensor

    def detach(self) -> RankingTerms:
        """Return the terms without their history."""
        return RankingTerms(self.divergence.detach(), self.ranking.detach(), self.said, self.agrees)


@dataclass(frozen=True)
class BestEntries:
    """The k best entries of the teacher and of the student, and what both give them.

    Attributes:
        ids: ``(N, 2k)``, the teacher's first, each best first.
        teacher: ``(N, 2k)``, their probabilities by the teacher.
        student: ``(N, 2k)``, by the student.
    """

    ids: Tensor
    teacher: Tensor
    student: Tensor

    @property
    def weights(self) -> Tensor:
        """Weights of the entries in the ranking loss, ``(N, 2k)``, without gradient."""
        p_a, p_b = self.student.detach().chunk(2, 1)  # (N, k) each
        q_a, q_b = self.teacher.chunk(2, 1)  # (N, k) each
        half = p_a.new_tensor(0.5)
        beyond_first = torch.heaviside(p_a - p_a[:, :1], half)  # (N, k)
        overtakes = torch.heaviside(p_b[:, None, :] - p_a[:, :, None], half)  # (N, k, k)
        overtakes = overtakes * (q_a[:, :, None] > q_b[:, None, :])
        of_teacher = beyond_first - overtakes.sum(2)  # (N, k)
        of_teacher[:, 0] -= beyond_first.sum(1)
        return torch.cat((of_teacher, overtakes.sum(1)), 1)


def ranking_terms(
    student: Tensor, teacher: Tensor, k: int, mode: Literal["paper", "original"], padding_idx: int
) -> RankingTerms:
    """Return the terms of the loss, one value of each per token.

    Args:
        student: ``(N, V)`` logits, any float type; log-probabilities do as well.
        teacher: ``(N, V)`` logits; -inf where it rules an entry out.
        k: best entries of either side, 1 to V.
        mode: of the logarithms.
        padding_idx: the entry that nobody says.
    """
    log_p, log_q = F.log_softmax(widen(student), -1), F.log_softmax(widen(teacher), -1)  # (N, V)
    p, q = log_p.exp(), log_q.exp()  # (N, V)
    mine, said = _best(log_p, k, padding_idx)
    ids = torch.cat((log_q.topk(k).indices, mine), 1)  # (N, 2k)
    best = BestEntries(ids, q.gather(1, ids), p.gather(1, ids))
    if mode == "original":
        divergence = (q * ((q + ADDED).log() - (p + ADDED).log())).sum(-1)  # (N,)
    else:
        divergence = kl_of_log_probs(log_q, log_p)  # (N,)
    ranking = (best.weights * best.student).sum(-1)  # (N,)
    return RankingTerms(divergence, ranking, said, ids[:, 0] == mine[:, 0])


def _best(scores: Tensor, k: int, padding_idx: int) -> tuple[Tensor, Tensor]:
    """Return the k best entries, ``(N, k)``, and the best one that is not padding, ``(N,)``."""
    ids = scores.topk(min(max(k, 2), scores.size(1))).indices  # (N, k), at least two
    said = torch.where(ids[:, 0] == padding_idx, ids[:, min(1, ids.size(1) - 1)], ids[:, 0])  # (N,)
    return ids[:, :k], said


class RankingBlocks(SoftTargetBlocks):
    """``tie_kd`` as a :class:`cmlm_kd.losses.projection.BlockLoss`, with the terms of each token.

    Args:
        target: ``(N,)`` gold entries, no padding.
        teacher: the same N tokens of the teacher; what it says where ``soft_weight`` is 0 counts nothing.
        hard_weight: ``(N,)``, weight of each token's hard term.
        soft_weight: ``(N,)``, weight of divergence and ranking loss.
        k, mode, padding_idx: see :func:`ranking_terms`.
        smoothing, vocabulary: see :class:`SoftTargetBlocks`.

    Attributes:
        terms: of each token, filled in as the blocks pass.
    """

    def __init__(
        self,
        target: Tensor,
        teacher: TeacherProjection | TeacherLogits,
        hard_weight: Tensor,
        soft_weight: Tensor,
        *,
        k: int,
        mode: Literal["paper", "original"],
        padding_idx: int,
        smoothing: tuple[float, float],
        vocabulary: int,
    ) -> None:
        super().__init__(target, None, hard_weight, smoothing, vocabulary, soft_weight=soft_weight)
        self._whole, self._k, self._mode, self._padding_idx = teacher, k, mode, padding_idx
        divergence, ranking = (torch.zeros_like(hard_weight) for _ in range(2))  # (N,) each
        agrees = torch.zeros_like(target, dtype=torch.bool)  # (N,)
        self.terms = RankingTerms(divergence, ranking, torch.zeros_like(target), agrees)

    def start_chunk(self, rows: slice) -> None:
        """Project the teacher's tokens of the chunk."""
        self._whole.project(rows)

    def narrow(self, logits: Tensor, rows: slice, again: Callable[[Tensor], Tensor]) -> bool:
        """Take no logits in bfloat16: the order of nearly equal entries would be one of roundings."""
        return False

    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Note the terms of a block; turn its logits ``(n, V)`` into the gradient if wanted."""
        teacher = self._whole.block(rows)  # (n, V)
        mine, self.terms.said[rows] = _best(logits, self._k, self._padding_idx)
        ids = torch.cat((teacher.topk(self._k).indices, mine), 1)  # (n, 2k)
        self.terms.agrees[rows] = ids[:, 0] == mine[:, 0]
        # log q - log p = z_t - z_s - log Z_t + log Z_s, exact where a probability would underflow.
        difference = teacher - logits if self._mode == "paper" else None  # (n, V)
        self._entries.observe(logits, rows)  # from here on they hold p
        normaliser = softmax_in_place(teacher)  # (n, 1), and q
        best = BestEntries(ids, teacher.gather(1, ids), logits.gather(1, ids))
        weighted = best.weights * best.student  # (n, 2k)
        self.terms.ranking[rows] = weighted.sum(1)
        if difference is not None:
            apart = (self._entries.normaliser[rows] - normaliser).squeeze(1)  # (n,)
            self.terms.divergence[rows] = torch.linalg.vecdot(teacher, difference) + apart
        else:
            apart_logs = (teacher + ADDED).log_().sub_((logits + ADDED).log_())  # (n, V)
            self.terms.divergence[rows] = torch.linalg.vecdot(teacher, apart_logs)
        if gradient:
            if difference is None:
                teacher.mul_(
                    logits / (logits + ADDED)
                )  # - p d divergence / d p, which is q in the paper's form
            self._soft_gradient(teacher, logits, weighted, ids, rows)
            self._entries.differentiate(logits, rows)
            logits.add_(teacher)

    def _soft_gradient(
        self, pulled: Tensor, probs: Tensor, weighted: Tensor, ids: Tensor, rows: slice
    ) -> None:
        """Overwrite ``pulled (n, V)`` with the gradient of divergence and ranking loss.

        Args:
            pulled: what the divergence takes from the gradient of each entry: q, in the paper's form.
            probs: ``(n, V)`` of the student.
            weighted: ``(n, 2k)``, weights of the best entries times their probabilities.
            ids: ``(n, 2k)``.
            rows: where the block is among the N tokens.
        """
        soft = self._soft_weight[rows].unsqueeze(1)  # (n, 1)
        # p (sum of what is pulled - ranking) - pulled + p w
        everywhere = soft * (pulled.sum(1, keepdim=True) - weighted.sum(1, keepdim=True))  # (n, 1)
        pulled.mul_(-soft).addcmul_(probs, everywhere)
        pulled.scatter_add_(1, ids, soft * weighted)

    @property
    def soft(self) -> Tensor:
        """Divergence and ranking loss, ``(N,)``."""
        return self.terms.divergence + self.terms.ranking
