"""The terms of TinyBERT (Jiao et al., 2020, "TinyBERT: Distilling BERT for Natural Language Understanding").

For a sentence of l tokens, attention scores A before the softmax (h heads), hidden states H (width d, of the
student d') and logits z over C classes, eq. 7-10::

    attention  = sum over layers   1/h sum over heads  MSE(A_student, A_teacher)
    hidden     = sum over layers   MSE(H_student W_h, H_teacher)
    embedding  = MSE(E_student W_e, E_teacher)
    prediction = - sum over classes  softmax(z_teacher / T) log softmax(z_student / T)      no T^2

Every function returns one value a sentence, ``(B,)``: a sum over the batch divided by B is the loss, and it
stays the same however a batch is cut into micro-batches. Two readings of MSE are available:

=========  ==============================================  ===============================================
           ``paper``                                       ``original`` (``task_distill.py``, lines 903-975)
=========  ==============================================  ===============================================
padding    left out: the mean is over the sentence's own   counted: the mean is over all positions of the
           l x l scores and l x d numbers                  padded batch
scores     as they are                                     those at or below -100, and padding's columns, 0
C classes  summed over                                     divided by C
=========  ==============================================  ===============================================
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cmlm_kd.losses import soft_cross_entropy, widen

Mode = Literal["paper", "original"]

SCORE_FLOOR = -1e2
"""Scores at or below it are masked ones in the released code, which adds -10,000 to padding's columns."""


def attention_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean squared difference of one layer's attention scores, ``(B,)``.

    Args:
        student: ``(B, H, L, L)`` scores before the softmax, without or with a mask added.
        teacher: the same of the teacher's layer; as many heads.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    student, teacher = widen(student), widen(teacher)
    if mode == "original":
        student, teacher = (_floored(scores, mask) for scores in (student, teacher))
        return (student - teacher).square().mean((1, 2, 3))
    squares = (student - teacher).square().mean(1)  # (B, L, L)
    if mask is None:
        return squares.mean((1, 2))
    real = mask.bool()  # (B, L)
    pairs = real[:, :, None] & real[:, None, :]  # (B, L, L)
    return squares.masked_fill(~pairs, 0.0).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def _floored(scores: Tensor, mask: Tensor | None) -> Tensor:
    hidden = scores <= SCORE_FLOOR  # (B, H, L, L)
    if mask is not None:
        hidden = hidden | ~mask.bool()[:, None, None, :]
    return scores.masked_fill(hidden, 0.0)


def hidden_term(student: Tensor, teacher: Tensor, mask: Tensor | None, mode: Mode) -> Tensor:
    """Return the mean squared difference of one layer's states, or of the embeddings, ``(B,)``.

    Args:
        student: ``(B, L, d)`` after the projection to the teacher's width.
        teacher: ``(B, L, d)``.
        mask: ``(B, L)``, 0 or False on padding; None where nothing is padding.
        mode: see the module docstring.
    """
    squares = (widen(student) - widen(teacher)).square().mean(2)  # (B, L)
    if mask is None or mode == "original":
        return squares.mean(1)
    real = mask.bool()  # (B, L)
    return squares.masked_fill(~real, 0.0).sum(1) / real.sum(1).clamp(min=1)


def prediction_term(student: Tensor, teacher: Tensor, temperature: float, mode: Mode) -> Tensor:
    """Return the soft cross entropy, ``(B,)``; no T^2 in paper or code.

    Args:
        student: logits ``(B, C)``.
        teacher: probabilities ``(B, C)`` at the same temperature.
        temperature: above 0.
        mode: ``original`` divides by C (``soft_cross_entropy`` of the released code is a mean over B and C).
    """
    crossed = soft_cross_entropy(student, teacher, temperature)  # (B,)
    return crossed / student.size(-1) if mode == "original" else crossed
