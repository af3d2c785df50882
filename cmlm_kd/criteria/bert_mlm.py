"""``bert_mlm``: masked language modelling without a teacher (Devlin et al., 2019, section 3.1).

For logits z over the vocabulary at a position whose token y was masked::

    loss = - log softmax(z)[y]        summed over masked tokens

Next-sentence prediction, which BERT was trained on besides, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.masked_lm_loss import masked_output
from cmlm_kd.criteria.sentence_classification import SentenceClassification


@dataclass(frozen=True)
class BertMLMConfig:
    """There is nothing to set."""


@kd_criteria.register("bert_mlm", config=BertMLMConfig)
class BertMLMCriterion(KDCriterion):
    """Cross entropy of the masked tokens; a teacher is not read in training.

    It trains teachers, and students without a teacher beside which those with one are judged. With
    ``--teacher`` validation shows how often the two agree.

    Terms: ``mlm_loss`` and ``accuracy`` per masked token. Smallest command: docs/masked_lm.md.
    """

    citation = SentenceClassification.citation  # the same paper
    levels = ("text",)
    terms_in_nats = frozenset({"loss", "mlm_loss"})

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over masked tokens."""
        return masked_output(student, target)

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the same."""
        return masked_output(student, target)
