"""MobileBERT's knowledge transfer of one batch: its terms, means over the layers that learn.

The terms themselves: :mod:`cmlm_kd.criteria.mobilebert_terms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from cmlm_kd.criteria.checks import check_same_heads
from cmlm_kd.criteria.mobilebert_terms import (
    Mode,
    attention_term,
    feature_map_term,
    mean_term,
    token_means,
    token_variances,
    variance_term,
)
from cmlm_kd.criterion import StudentOutput
from cmlm_kd.errors import UserError
from cmlm_kd.needs import ModelDescription
from cmlm_kd.signals import TeacherSignal

OWNER = "mobilebert_kd"

STATISTICS = {"mean_loss": (token_means, mean_term), "variance_loss": (token_variances, variance_term)}
"""Terms of single numbers a token, and how those are computed."""


def transfer_terms(
    student: StudentOutput,
    teacher: TeacherSignal,
    names: Iterable[str],
    pairs: Sequence[tuple[int, int]],
    mode: Mode,
    teacher_states: tuple[int, ...],
) -> dict[str, Tensor]:
    """Return terms by name, before weights, each ``(B,)``: the mean over the layers that learn.

    Args:
        student: with the layers of ``pairs``, and the mask of its sentences.
        teacher: likewise.
        names: of the terms, such as ``feature_map_loss``.
        pairs: one or more student layers, each with its teacher layer.
        mode: see :mod:`cmlm_kd.criteria.mobilebert_terms`.
        teacher_states: of which layers ``original`` compares the statistics with each student layer's.
    """
    batch = _Batch(student, teacher, mode, teacher_states)
    return {name: torch.stack([batch.term(name, m, n) for m, n in pairs]).mean(0) for name in names}


class _Batch:
    """Student and teacher on the same sentences. Statistics of the teacher are computed once."""

    def __init__(
        self, student: StudentOutput, teacher: TeacherSignal, mode: Mode, teacher_states: tuple[int, ...]
    ) -> None:
        self._student, self._teacher = student, teacher
        self._mode: Mode = mode
        self._teacher_states = teacher_states
        self._kept: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def term(self, name: str, m: int, n: int) -> Tensor:
        """Return a term of student layer m and teacher layer n, ``(B,)``."""
        student, teacher, mask = self._student, self._teacher, self._student.attention_mask
        if name == "attention_loss":
            return attention_term(student.attention_scores[m], teacher.attention_scores[n], mask, self._mode)
        if name == "feature_map_loss":
            return feature_map_term(student.hidden_states[m], teacher.hidden_states[n], mask, self._mode)
        of_teacher = self._statistic(name, self._teacher_states if self._mode == "original" else (n,))
        return STATISTICS[name][1](student.hidden_states[m], of_teacher, mask, self._mode)

    def _statistic(self, name: str, layers: tuple[int, ...]) -> Tensor:
        """Return the teacher's statistic that a term compares, for some layers, ``(K, B, L)``."""
        if (name, layers) not in self._kept:
            states = (self._teacher.hidden_states[layer] for layer in layers)
            self._kept[name, layers] = STATISTICS[name][0](states)
        return self._kept[name, layers]


def refuse_misfits(
    student: ModelDescription, teacher: ModelDescription, *, attention: bool, states: bool
) -> None:
    """Refuse heads and widths that the transfer cannot compare.

    Args:
        student: what learns.
        teacher: what teaches.
        attention: whether attention is compared.
        states: whether hidden states are.

    Raises:
        UserError: naming both models.
    """
    if attention:
        check_same_heads(OWNER, student, teacher)
    if states and student.hidden_size != teacher.hidden_size:
        raise UserError(
            f"{OWNER}: the feature maps of {student.name} and {teacher.name} are {student.hidden_size} "
            f"and {teacher.hidden_size} wide, and there is no projection between them; give the student "
            f"--hidden-size {teacher.hidden_size} (an IB-BERT's is meant to be small), or take distilbert_kd "
            "or tinybert_kd"
        )
