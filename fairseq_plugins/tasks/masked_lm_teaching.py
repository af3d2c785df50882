"""What a task over running text asks of its teacher."""

from cmlm_kd.api.needs import Needs
from cmlm_kd.criteria.masked_lm_loss import validation_request
from cmlm_kd.system.devices import bfloat16_autocast

INPUTS = ("input_ids", "attention_mask", "masked_index")
"""What student and teacher read of a batch."""


class TextTeaching:
    """A teacher of running text beside a student, and what the criterion reads of it.

    Args:
        teacher: :class:`cmlm_kd.teachers.masked_lm.MaskedLMTeacher`, or None.
        bfloat16: whether it computes in bfloat16.
    """

    def __init__(self, teacher, bfloat16):
        self.teacher, self.needs = teacher, Needs()
        self._bfloat16 = bfloat16

    def for_training(self, sample):
        """Add to a batch what the criterion reads of the teacher, if it reads one."""
        if self.teacher is not None and self.needs.teacher is not None:
            self._ask(sample, self.needs.teacher, dropout=self.needs.teacher_dropout)

    def for_validation(self, sample):
        """Add the same, and what the teacher predicts where pieces were hidden."""
        if self.teacher is not None:
            self._ask(sample, validation_request(self.needs.teacher, predicts=self.teacher.predicts))

    def _ask(self, sample, request, *, dropout=False):
        inputs = [sample["net_input"][name] for name in INPUTS]
        with bfloat16_autocast(self._bfloat16, inputs[0].device):
            sample["teacher"] = self.teacher.signal(*inputs, request, dropout=dropout).to_batch()
