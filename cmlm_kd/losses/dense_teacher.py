"""A dense teacher against the student, both projected chunk by chunk, for masked language models.

Distilling a masked language model compares two distributions over the whole vocabulary at every position:
logits of N * V numbers on either side, their log-softmaxes, and the gradient. Here a chunk of positions
is projected twice, from the student's hidden states and from the teacher's; the two buffers become
probabilities in place, the student's then the gradient, which is multiplied back at once
(:func:`cmlm_kd.losses.projection.projected_loss`). With p = softmax(z / T), gold entry y and weights w of a
position::

    loss     = w_soft T^2 KL(p_teacher || p_student) + w_hard NLL(y)
               + w_mse sum over V (z_student - z_teacher)^2
    gradient = w_soft T (p_student - p_teacher) + w_hard (softmax(z_student) - onehot(y))
               + 2 w_mse (z_student - z_teacher)

The weights are of single positions, so that all positions can be compared with the teacher and the masked
ones have a gold entry besides: the softmax of the hard term is made for those rows alone, or not at all where
T is 1 and one softmax serves both. DistilBERT's loss (:mod:`cmlm_kd.criteria.distilbert`) is that, and so is
MobileBERT's distillation term (:mod:`cmlm_kd.criteria.mobilebert`), with T = 1, ``w_hard = r``,
``w_soft = 1 - r`` and the teacher's entropy added to the divergence. All that costs four matrix products,
three of the student and one of the teacher: the least for an exact loss and a teacher that is not stored.
"""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from cmlm_kd.losses.divergences import entropy, softmax_in_place, widen
from cmlm_kd.losses.projection import BlockLoss, compute_type

RULED_OUT = -1e30
"""Logit of an entry that a teacher's output layer never gives: of probability 0 at any usual temperature."""


class TeacherProjection:
    """A teacher's hidden states and output layer: logits of a chunk of positions at a time, no gradient.

    Args:
        features: ``(N, d)``, what the teacher's output layer would project; positions as the student's.
        weight: ``(V, d)``.
        bias: ``(V,)`` or None.
    """

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        compute = compute_type(features)
        self._features, self._weight = features.detach().to(compute), weight.detach().to(compute)
        # -inf rules an entry out. A number that softmax takes for the same keeps 0 * (-inf - z), a NaN, away.
        self._bias = None if bias is None else bias.detach().clamp(min=RULED_OUT)
        self._buffer = self._features.new_empty(0, weight.size(0))  # (n, V), grows to the largest chunk
        self._start = 0

    def project(self, rows: slice) -> None:
        """Compute the logits of a chunk; the last chunk's are gone."""
        hidden = self._features[rows]  # (n, d)
        if self._buffer.size(0) < hidden.size(0):
            self._buffer = hidden.new_empty(hidden.size(0), self._weight.size(0))  # (n, V)
        self._start = rows.start
        torch.mm(hidden, self._weight.t(), out=self._buffer[: hidden.size(0)])

    def block(self, rows: slice) -> Tensor:
        """Return the logits of some positions of the chunk, ``(n, V)``, float32 at least, to be used up."""
        logits = widen(self._buffer[rows.start - self._start : rows.stop - self._start])  # (n, V)
        return logits if self._bias is None else logits.add_(self._bias)


class TeacherLogits:
    """The same of a teacher that gives logits.

    Args:
        logits: ``(N, V)``; -inf rules an entry out.
    """

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits.detach()

    def project(self, rows: slice) -> None:
        """Do nothing: the logits are there."""

    def block(self, rows: slice) -> Tensor:
        """Return the logits of some positions, ``(n, V)``, float32 at least, to be used up."""
        return widen(self._logits[rows]).clamp(min=RULED_OUT)  # (n, V)


class DenseTeacherBlocks(BlockLoss):
    """The module's loss as a :class:`cmlm_kd.losses.projection.BlockLoss`, with terms by position.

    Args:
        teacher: the same N positions of the teacher.
        target: ``(N,)`` gold entries; what stands where ``hard_weight`` is 0 is not read.
        soft_weight: ``(N,)`` weights of the divergence, float32 or float64 as the logits will be.
        hard_weight: ``(N,)`` weights of the negative log-likelihood, 0 where nothing was masked.
        mse_weight: ``(N,)`` weights of the squared difference of logits; None for no such term.
        temperature: T above 0, of both sides.
        cross_entropy: add the teacher's entropy to the divergence, which changes no gradient.

    Attributes:
        soft: ``(N,)`` divergences, or cross entropies, times T^2; filled in as the blocks pass, as are the
            others.
        hard: ``(N,)`` negative log-likelihoods, 0 where ``hard_weight`` is.
        mse: ``(N,)`` squared differences summed over V, 0 without ``mse_weight``.
    """

    def __init__(
        self,
        teacher: TeacherProjection,
        target: Tensor,
        *,
        soft_weight: Tensor,
        hard_weight: Tensor,
        mse_weight: Tensor | None = None,
        temperature: float = 1.0,
        cross_entropy: bool = False,
    ) -> None:
        self._teacher, self._target = teacher, target
        self._soft_weight, self._hard_weight, self._mse_weight = soft_weight, hard_weight, mse_weight
        self._temperature, self._cross_entropy = temperature, cross_entropy
        self._hard_rows = hard_weight.nonzero().squeeze(1)  # (m,), rising
        self._hard_numbers: list[int] = self._hard_rows.tolist()  # finds a block's part without a GPU's help
        self.soft, self.hard, self.mse = (torch.zeros_like(soft_weight) for _ in range(3))  # (N,) each

    def start_chunk(self, rows: slice) -> None:
        """Project the teacher's positions of the chunk."""
        self._teacher.project(rows)

    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Note the terms of a block; turn its logits ``(n, V)`` into the gradient if wanted."""
        T = self._temperature
        teacher = self._teacher.block(rows)  # (n, V)
        # What is read of logits is read before the softmaxes, which take their place.
        difference = teacher - logits  # (n, V)
        if self._mse_weight is not None:
            self.mse[rows] = difference.square().sum(1)
        hard = self._hard_part(rows)  # (m,), counted from the block's first row
        gold = logits[hard, self._target[rows][hard]]  # (m,)
        # Hard labels have no temperature, and so a softmax of their own where T is not 1.
        untempered = None if T == 1.0 else logits.index_select(0, hard)  # (m, V)

        teacher_normaliser = softmax_in_place(teacher.div_(T)).squeeze(1)  # (n,)
        normaliser = softmax_in_place(logits.div_(T)).squeeze(1)  # (n,)
        # log p = z / T - log Z on both sides: KL = sum_v p_t (z_t - z_s) / T - log Z_t + log Z_s.
        soft = torch.linalg.vecdot(teacher, difference) / T - teacher_normaliser + normaliser  # (n,)
        # Cross entropy is KL plus the teacher's entropy, which has no gradient.
        self.soft[rows] = T**2 * (soft + entropy(teacher) if self._cross_entropy else soft)
        if untempered is None:
            hard_normaliser = normaliser[hard]  # (m,)
        else:
            hard_normaliser = softmax_in_place(untempered).squeeze(1)  # (m,)
        self.hard[rows.start + hard] = hard_normaliser - gold  # - log p[y]
        if gradient:
            self._to_gradient(logits, teacher, difference, untempered, hard, rows)

    def _hard_part(self, rows: slice) -> Tensor:
        first, last = (bisect_left(self._hard_numbers, edge) for edge in (rows.start, rows.stop))
        in_block: Tensor = self._hard_rows[first:last] - rows.start  # (m,)
        return in_block

    def _to_gradient(
        self,
        student: Tensor,
        teacher: Tensor,
        difference: Tensor,
        untempered: Tensor | None,
        hard: Tensor,
        rows: slice,
    ) -> None:
        """Overwrite the student's probabilities ``(n, V)`` with the gradient.

        Args:
            student: probabilities ``(n, V)`` at T.
            teacher: the same of the teacher.
            difference: logits of the teacher less the student's, ``(n, V)``.
            untempered: the student's probabilities at 1 in the rows ``hard``, ``(m, V)``; None where T is 1.
            hard: ``(m,)`` rows of the block with a hard term.
            rows: where the block is among the N positions.
        """
        hard_weight = self._hard_weight[rows][hard].unsqueeze(1)  # (m, 1)
        if untempered is None:
            untempered = student.index_select(0, hard)  # (m, V)
        soft_scale = (self._temperature * self._soft_weight[rows]).unsqueeze(1)  # (n, 1)
        # w_soft T (p_s - p_t): T^2 of the term, and 1 / T of d (z / T) / d z.
        student.sub_(teacher).mul_(soft_scale)
        # w_hard (softmax(z) - onehot(y))
        student.index_add_(0, hard, untempered.mul_(hard_weight))
        student[hard, self._target[rows][hard]] -= hard_weight.squeeze(1)
        if self._mse_weight is not None:  # 2 w_mse (z_s - z_t)
            student.addcmul_(difference, self._mse_weight[rows].unsqueeze(1), value=-2.0)

    def total(self) -> Tensor:
        """Return the weighted loss, summed over positions."""
        loss = self._soft_weight * self.soft + self._hard_weight * self.hard  # (N,)
        if self._mse_weight is not None:
            loss = loss + self._mse_weight * self.mse
        return loss.sum()
