"""A user directory of one file: ``--criterion reverse_kl``, which the toolkit does not have."""

from dataclasses import dataclass, field

import torch

import fairseq_plugins  # noqa: F401 - brings the tasks, the models and the other criteria
from cmlm_kd.api import CriterionOutput, Needs, Request, SentenceCriterion, Term, hard_label_loss, kd_criteria


@dataclass(frozen=True)
class ReverseKLConfig:
    """Every field becomes a flag."""

    kd_alpha: float = field(default=0.5, metadata={"help": "weight of the divergence, in [0, 1]"})


@kd_criteria.register("reverse_kl", config=ReverseKLConfig)
class ReverseKL(SentenceCriterion):
    """KL(student | teacher), which punishes what only the student believes, beside the hard labels."""

    def needs(self, student, teacher):
        """Read the teacher's probabilities."""
        return Needs(teacher=Request())

    def training_loss(self, student, target, teacher):
        """Return both terms, a mean over sentences each."""
        log_p, q = student.sentence_logits().log_softmax(-1), teacher.probabilities()  # (B, C)
        divergence = (log_p.exp() * (log_p - q.log())).sum(-1)  # (B,)
        hard = hard_label_loss(student.sentence_logits(), target)  # (B,)
        count, alpha = torch.tensor(len(target)), self.config.kd_alpha
        terms = {"kd_loss": Term(divergence.sum(), count), "hard_loss": Term(hard.sum(), count)}
        return CriterionOutput.weighted({"kd_loss": alpha, "hard_loss": 1 - alpha}, terms, len(target))
