"""A teacher of unlabelled text beside a student, asked by the tasks between data loader and criterion."""

from __future__ import annotations

from typing import Any

from cmlm_kd.api.needs import LOGITS, Needs, Request
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.criteria.masked_lm_loss import validation_request
from cmlm_kd.system.devices import bfloat16_autocast


class TextTeaching:
    """A teacher of unlabelled text beside a student, and what the criterion reads of it.

    Args:
        teacher: such as :class:`cmlm_kd.teachers.masked_lm.MaskedLMTeacher`, or None.
        bfloat16: whether it computes in bfloat16.

    Attributes:
        needs: what the criterion reads.
    """

    def __init__(self, teacher: SignalSource | None, bfloat16: bool) -> None:
        self.teacher, self.needs = teacher, Needs()
        self._bfloat16 = bfloat16

    def for_training(self, sample: dict[str, Any]) -> None:
        """Add to a batch what the criterion reads of the teacher, if it reads one."""
        if self.needs.teacher is not None:
            self._ask(sample, self.needs.teacher, dropout=self.needs.teacher_dropout)

    def for_validation(self, sample: dict[str, Any]) -> None:
        """Add the same, and what the teacher predicts for masked tokens."""
        if self.teacher is not None:
            predicts = LOGITS in self.teacher.description.provides
            self._ask(sample, validation_request(self.needs.teacher, predicts=predicts))

    def _ask(self, sample: dict[str, Any], request: Request, *, dropout: bool = False) -> None:
        if self.teacher is None:
            return
        batch = TeacherBatch(sample["id"], sample["net_input"])
        with bfloat16_autocast(self._bfloat16, sample["id"].device):
            sample["teacher"] = self.teacher.signal(batch, request, dropout=dropout)
