"""The loss of masked tokens, by which students of any criterion at level ``text`` are compared.

With a teacher or without: validation is by the loss of what was masked, on masks that never change.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import NOT_MASKED, CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, Needs, Request
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.losses.masked_tokens import MaskedTokenBlocks
from cmlm_kd.losses.projection import projected_loss


def target_at(positions: Tensor, masked_index: Tensor, masked: Tensor, size: int) -> Tensor:
    """Return what stood at the positions where a student predicts, ``(N,)``.

    Args:
        positions: ``(N,)``, counted over the batch.
        masked_index: ``(M,)`` positions that were masked, counted likewise.
        masked: ``(M,)`` ids of the tokens that stood there.
        size: positions of the batch, padding included.

    Returns:
        ids, :data:`NOT_MASKED` where nothing was masked.
    """
    # Only masked tokens have a gold entry; cross entropy and masked_rows pass the others by.
    everywhere = masked.new_full((size,), NOT_MASKED)  # (B * S,)
    everywhere[masked_index] = masked
    return everywhere[positions]


def masked_loss(student: ModelOutput, target: Tensor) -> dict[str, Term]:
    """Return ``mlm_loss`` (nats) and ``accuracy`` (per cent) over the masked tokens, not detached.

    Args:
        student: what it predicts at N positions.
        target: ``(N,)``, see :class:`cmlm_kd.api.criterion.KDCriterion`.
    """
    rows = masked_rows(target)  # (M,)
    wanted, count = target[rows], torch.tensor(len(rows), device=target.device)  # (M,)
    loss, best = _loss_and_best(student, rows, wanted)
    return {"mlm_loss": Term(loss, count), "accuracy": Term(100.0 * (best == wanted).sum(), count)}


def _loss_and_best(student: ModelOutput, rows: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of some rows' tokens, summed over rows, and the likeliest tokens, ``(M,)``."""
    if student.logits is not None:
        logits = student.vocabulary_logits(rows)  # (M, V)
        return F.cross_entropy(logits, wanted, reduction="sum"), logits.detach().argmax(-1)
    features, weight = student.projection()  # (N, d), (V, d)
    blocks = MaskedTokenBlocks(wanted, features)
    return projected_loss(features[rows], weight, student.bias, blocks), blocks.best


def masked_output(student: ModelOutput, target: Tensor) -> CriterionOutput:
    """Return :func:`masked_loss` as a loss to train or compare by, summed over masked tokens."""
    return _output(masked_loss(student, target))


def masked_rows(target: Tensor) -> Tensor:
    """Return which of N positions were masked, ``(M,)``."""
    return (target != NOT_MASKED).nonzero().squeeze(1)


def validation_request(request: Request | None, *, predicts: bool = True) -> Request:
    """Return what a model keeps in validation: what training asks for, and predictions of what is masked.

    Args:
        request: of training; None for a model that training does not read.
        predicts: whether the model has a head.
    """
    request = NOTHING_ELSE if request is None else request
    if not predicts:
        return replace(request, predictions="none")
    return request if request.predictions == "real" else replace(request, predictions="masked")


def text_validation(
    criterion: KDCriterion,
    needs: Needs,
    student: ModelOutput,
    target: Tensor,
    teacher: TeacherSignal | None,
) -> CriterionOutput:
    """Return the loss by which students are compared, the teacher's agreement and the criterion's terms.

    Args:
        criterion: that the student learns by.
        needs: of the criterion.
        student: what :func:`validation_request` asks for.
        target: ``(N,)``, see :class:`cmlm_kd.api.criterion.KDCriterion`.
        teacher: the same of the teacher, or None.

    Returns:
        the sum of ``mlm_loss``; terms ``mlm_loss``, ``accuracy`` and, with a teacher that predicts,
        ``agreement`` (per cent of the masked tokens where both have the same best guess) and
        ``teacher_accuracy``; for a criterion that reads a teacher, its own terms and ``kd_loss``, all of it.
    """
    terms = masked_loss(student, target)
    if teacher is not None and teacher.predicts:
        rows, count = masked_rows(target), terms["mlm_loss"].count  # (M,)
        best = teacher.vocabulary_logits()[rows].argmax(-1)  # (M,)
        own = student.vocabulary_logits(rows).argmax(-1)  # (M,)
        terms["agreement"] = Term(100.0 * (best == own).sum(), count)
        terms["teacher_accuracy"] = Term(100.0 * (best == target[rows]).sum(), count)
    if teacher is not None and needs.teacher is not None:
        learnt = criterion.training_loss(student, target, teacher)
        terms = {**learnt.terms, **terms, "kd_loss": Term(learnt.loss, torch.as_tensor(learnt.size))}
    return _output(terms)


def _output(terms: dict[str, Term]) -> CriterionOutput:
    """Return ``mlm_loss`` as the loss, and all terms to be logged."""
    main = terms["mlm_loss"]
    logged = {name: Term(term.total.detach(), term.count) for name, term in terms.items()}
    return CriterionOutput(main.total, logged, size=main.count)
