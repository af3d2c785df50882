"""``sentence_classification``: hard labels alone, as BERT is fine-tuned (Devlin et al., 2019, section 3.2).

It trains teachers, and students without a teacher beside which those with one are judged.

For logits z of C classes and the class y, or a single output z and the score y::

    loss = - log softmax(z)[y]        classes, summed over sentences
    loss = (z - y)^2                  scores, summed over sentences
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal


@dataclass(frozen=True)
class SentenceClassificationConfig:
    """There is nothing to set."""


@kd_criteria.register("sentence_classification", config=SentenceClassificationConfig)
class SentenceClassification(SentenceCriterion):
    """Cross entropy of the class, or squared error of the score; a teacher is not read.

    Reads ``sample["target"]`` ``(B,)``. Term: ``hard_loss`` per sentence.

    Relation: every other criterion over sentences validates by this loss.

    Smallest command::

        fairseq-train SST-2 --user-dir fairseq_plugins --task classification_kd --corpus SST-2 \\
            --arch bert_classifier --bert DIR --criterion sentence_classification \\
            --optimizer bert_adamw --batch-size 32
    """

    citation = """\
@inproceedings{devlin-etal-2019-bert,
    title = {{BERT}: Pre-training of Deep Bidirectional Transformers for Language Understanding},
    author = {Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
    booktitle = {Proceedings of NAACL-HLT 2019},
    pages = {4171--4186},
    year = {2019},
    url = {https://aclanthology.org/N19-1423},
}
"""
    terms_in_nats = frozenset({"loss", "hard_loss"})

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over sentences."""
        hard = hard_label_loss(student.sentence_logits(), target).sum()
        return CriterionOutput(hard, {"hard_loss": Term(hard.detach(), torch.tensor(len(target)))})
