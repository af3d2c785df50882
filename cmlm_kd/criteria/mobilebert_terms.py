"""The terms of MobileBERT (Sun et al., 2020, "MobileBERT: a Compact Task-Agnostic BERT", section 3.4).

Student and IB-BERT teacher have as many layers, equally wide between them. For one layer, a sentence of l
tokens, feature maps H (l x d) and attention scores A before the softmax (h heads), and for the logits z at a
masked position whose piece is y::

    feature map  = 1/(l d)  sum over tokens and numbers  (H_teacher - H_student)^2
    attention    = 1/(l h)  sum over tokens and heads    KL(softmax A_teacher || softmax A_student)
    mean         = 1/l      sum over tokens              (mean_d H_teacher - mean_d H_student)^2
    variance     = 1/l      sum over tokens              |var_d H_teacher - var_d H_student|
    distillation = CE(r onehot(y) + (1 - r) softmax(z_teacher), softmax(z_student))

The first four return one value a sentence, ``(B,)``, the last one a masked position, ``(N,)``; the loss is
the mean of each. Two readings, the paper's and that of the released ``run_pretraining.py``:

=============  ===================================  =====================================================
               ``paper``                            ``original``
=============  ===================================  =====================================================
feature maps   as they are                          each token's after LayerNorm without weight and bias
attention      divergence                           cross entropy: equal gradient, greater by the entropy
                                                    of the teacher's attention
padding        left out                             its tokens count; as keys nothing attends to them
mean, variance compared with the mapped layer's     compared with those of all the teacher's hidden
                                                    states, embeddings included; the mean over them
distillation   divided by the masked positions      divided by their number + 1e-5
=============  ===================================  =====================================================

That each student layer is compared with the statistics of *all* teacher layers comes from a list in the
released code where one of its items was meant. There feature maps weigh 100, attention 1, mean 5000 and
variance 5, each divided by the number of layers; its temperature multiplies hidden states before the head,
so that only 1 means anything, and there is none here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses import widen

Mode = Literal["paper", "original"]

NORM_EPSILON = 1e-12
"""Of the LayerNorm that ``original`` compares feature maps after."""

COUNT_EPSILON = 1e-5
"""What ``original`` adds to the number of masked positions that divides the distillation term."""

MASKED = -1e4
"""Score of a key that is padding; its softmax is 0 in every precision."""


def feature_map_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean squared difference of one layer's feature maps, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(B, L, d)``.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    student, teacher = widen(student), widen(teacher)
    if mode == "original":
        width = student.shape[-1:]
        student, teacher = (F.layer_norm(states, width, eps=NORM_EPSILON) for states in (student, teacher))
    return _mean_over_tokens((student - teacher).square().mean(2), mask, mode)


def attention_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return how far one layer's attention is from the teacher's, the mean over queries and heads, ``(B,)``.

    Args:
        student: ``(B, h, L, L)`` scores before the softmax, without or with a mask added.
        teacher: the same of the teacher's layer; as many heads.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    log_student, log_teacher = (F.log_softmax(_masked(scores, mask), -1) for scores in (student, teacher))
    attention = log_teacher.exp()  # (B, h, L, L)
    compared = -log_student if mode == "original" else log_teacher - log_student  # (B, h, L, L)
    return _mean_over_tokens((attention * compared).sum(3).mean(1), mask, mode)


def token_means(states: Iterable[Tensor]) -> Tensor:
    """Return each token's mean over the width, ``(K, B, L)``, of K layers' states ``(B, L, d)``."""
    return torch.stack([widen(each).mean(2) for each in states])


def token_variances(states: Iterable[Tensor]) -> Tensor:
    """Return each token's variance (divided by d) over the width, ``(K, B, L)``, of states ``(B, L, d)``."""
    return torch.stack([widen(each).var(2, unbiased=False) for each in states])


def mean_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean squared difference of the tokens' means over the width, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(K, B, L)``, :func:`token_means` of the layers it is compared with.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    difference = teacher - token_means([student])  # (K, B, L)
    return _mean_over_tokens(difference.square().mean(0), mask, mode)


def variance_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean absolute difference of the tokens' variances (divided by d) over the width, ``(B,)``.

    Args:
        student: ``(B, L, d)``.
        teacher: ``(K, B, L)``, :func:`token_variances` of the layers it is compared with.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    difference = teacher - token_variances([student])  # (K, B, L)
    return _mean_over_tokens(difference.abs().mean(0), mask, mode)


def distillation_term(student: Tensor, teacher: Tensor, target: Tensor, hard_share: float) -> Tensor:
    """Return the cross entropy with gold entry and teacher mixed, ``(N,)``.

    Equal to ``r`` times the negative log-likelihood plus ``1 - r`` times the cross entropy of the teacher.

    Args:
        student: logits ``(N, V)`` at the masked positions.
        teacher: probabilities ``(N, V)``.
        target: ``(N,)``, what stood there.
        hard_share: r in [0, 1]; at 1 the teacher has no part in it.
    """
    log_probs = F.log_softmax(widen(student), -1)  # (N, V)
    nll = -log_probs.gather(1, target.unsqueeze(1)).squeeze(1)  # (N,)
    soft = -(teacher * log_probs).sum(1)  # (N,)
    return hard_share * nll + (1.0 - hard_share) * soft


def distillation_count(positions: Tensor, mode: Mode) -> Tensor:
    """Return what divides the summed distillation term of so many masked positions (a scalar tensor)."""
    return positions.double() + COUNT_EPSILON if mode == "original" else positions


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    scores = widen(scores)
    if mask is None:
        return scores
    return scores.masked_fill(~mask.bool()[:, None, None, :], MASKED)


def _mean_over_tokens(values: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean of ``values (B, L)`` over a sentence's tokens, padding among them in ``original``."""
    if mask is None or mode == "original":
        return values.mean(1)
    real = mask.bool()  # (B, L)
    return torch.where(real, values, 0.0).sum(1) / real.sum(1).clamp(min=1)
