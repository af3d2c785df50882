"""The terms of DistilBERT (Sanh et al., 2019, "DistilBERT, a distilled version of BERT").

For one position with logits z over V entries, gold entry y where it was masked, and last hidden states h::

    kl      = T^2 sum over V  p_teacher (log p_teacher - log p_student),    p = softmax(z / T) on both sides
    mlm     = - log softmax(z_student)[y]                                    masked positions alone
    cosine  = 1 - cos(h_student, h_teacher)
    mse     = sum over V  (z_student - z_teacher)^2                          optional

    loss    = 5 mean(kl) + 2 mean(mlm) + 1 mean(cosine) + 0 mean(mse)

Every function returns one value a position, ``(N,)``; each term is divided by the positions that it was
taken at. That is what ``distiller.py: Distiller.step`` of the released code does: ``batchmean`` over the
selected tokens, a sum of squares over their number, the mean of the cosine loss. The paper writes kl as a
cross entropy, whose gradient is the same and whose value is not, and gives no reduction: these terms have no
modes. Where paper and code part is in the embeddings of positions (:mod:`cmlm_kd.students.inherit`).

The same terms without the matrix of logits: :mod:`cmlm_kd.criteria.dense_teacher_fused`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses import widen


def kl_term(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the Kullback-Leibler divergence of the student from the teacher, times T^2, ``(N,)``.

    Args:
        student: logits ``(N, V)``.
        teacher: logits ``(N, V)``.
        temperature: T above 0, of both sides.
    """
    log_student = F.log_softmax(widen(student) / temperature, -1)  # (N, V)
    log_teacher = F.log_softmax(widen(teacher) / temperature, -1)  # (N, V)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)  # (N, V)
    return temperature**2 * divergence.sum(-1)


def mlm_term(student: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of what was masked, ``(N,)``: logits ``(N, V)``, ids ``(N,)``."""
    return F.cross_entropy(widen(student), target, reduction="none")


def logits_mse_term(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared difference of logits ``(N, V)`` without temperature, summed over V: ``(N,)``."""
    return (widen(student) - widen(teacher)).square().sum(-1)


def cosine_term(student: Tensor, teacher: Tensor) -> Tensor:
    """Return ``1 - cos`` of hidden states ``(N, d)`` of equal width, in [0, 2]: ``(N,)``."""
    cosine: Tensor = torch.cosine_similarity(widen(student), widen(teacher), dim=-1)  # (N,)
    return 1.0 - cosine
