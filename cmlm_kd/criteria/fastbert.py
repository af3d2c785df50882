"""``fastbert_kd``: an encoder's last classifier teaches those on its other layers (Liu et al., 2020,
"FastBERT: a Self-distilling BERT with Adaptive Inference Time", section 3.2).

The divergences are those of :mod:`cmlm_kd.criteria.fastbert`: for the distribution p of the teacher
classifier and the distribution q_i of the branch on layer i of L layers::

    loss = sum_{i < L} KL(p | q_i)       direction forward, as coded (``run_fastbert.py``)
    loss = sum_{i < L} KL(q_i | p)       direction reverse, as printed (eq. 5)

summed over sentences. There are no hard labels, no temperature and no weights. Encoder and teacher classifier
are frozen; in mode ``original`` their dropout is on while they teach, as in the released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, ModelOutput, SentenceCriterion, Term, hard_label_loss
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import widen

Direction = Literal["forward", "reverse"]


def self_distillation_loss(
    branches: Sequence[Tensor] | Tensor, teacher: Tensor, direction: Direction = "forward"
) -> Tensor:
    """Return the divergence of all branches from the teacher classifier, ``(B,)``, summed over branches.

    Summed over classes too; the mean over the batch is the released code's ``batchmean``. No gradient flows
    to the teacher.

    Args:
        branches: logits ``(B, C)`` of each branch, or ``(L - 1, B, C)``.
        teacher: ``(B, C)`` logits of the teacher classifier.
        direction: see the module docstring.
    """
    if not len(branches):
        return widen(teacher).new_zeros(len(teacher))  # (B,)
    stacked = branches if isinstance(branches, Tensor) else torch.stack(list(branches))
    own = F.log_softmax(widen(stacked), -1)  # (L - 1, B, C)
    wanted = F.log_softmax(widen(teacher.detach()), -1)  # (B, C)
    if direction == "reverse":
        return (own.exp() * (own - wanted)).sum((0, 2))
    return (wanted.exp() * (wanted - own)).sum((0, 2))


@dataclass(frozen=True)
class FastBERTKDConfig:
    """Settings of :class:`FastBERTKD`."""

    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata={
            "help": "paper: what is frozen runs without dropout, so that a text has one target; original: "
            "with dropout, as the released code"
        },
    )
    kd_direction: Literal["forward", "reverse"] = field(
        default="forward",
        metadata={
            "help": "forward: divergence of the branch from the teacher classifier, as released; reverse: of "
            "the teacher classifier from the branch, as the paper prints it"
        },
    )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        return f"kd:fastbert|mode:{self.kd_mode}|direction:{self.kd_direction}"


@kd_criteria.register("fastbert_kd", config=FastBERTKDConfig)
class FastBERTKD(SentenceCriterion):
    """Divergence of all branches from the teacher classifier; equations in the module docstring.

    Reads the student's logits on every layer, and nothing of the batch but its texts: they need no labels.

    Terms: ``kd_loss`` a sentence, summed over branches. In validation ``loss`` is the branches' mean loss of
    the hard labels; ``hard_loss`` is the teacher classifier's, which is frozen.

    Relation: the one criterion whose teacher is a part of the student.

    Smallest command::

        fairseq-train SST-2 --user-dir fairseq_plugins --task classification_kd --corpus SST-2 \\
            --arch fastbert --bert DIR --finetune-from-model CHECKPOINT --criterion fastbert_kd \\
            --optimizer bert_adamw --batch-size 32
    """

    config: FastBERTKDConfig
    terms_in_nats = frozenset({"loss", "hard_loss", "kd_loss"})

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Ask for every layer's logits, and for no labels; see :class:`KDCriterion`."""
        if student.is_regression:
            raise UserError(
                f"fastbert_kd: compares distributions over classes, and {student.name} predicts a score; "
                "take bert_classifier, with tinybert_kd or bilstm_kd"
            )
        return Needs(Request(exits=True), teacher_dropout=self.config.kd_mode == "original", labels=False)

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over sentences; ``target`` and ``teacher`` are not read."""
        exits = student.exit_logits()  # (L, B, C)
        loss = self_distillation_loss(exits[:-1], exits[-1], self.config.kd_direction).sum()
        return CriterionOutput(loss, {"kd_loss": Term(loss.detach(), torch.tensor(exits.size(1)))})

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the branches' mean cross entropy of the hard labels, summed over sentences."""
        exits, count = student.exit_logits(), torch.tensor(len(target))  # (L, B, C)
        branches = torch.stack([hard_label_loss(logits, target) for logits in exits[:-1]])  # (L - 1, B)
        divergence = self_distillation_loss(exits[:-1], exits[-1], self.config.kd_direction)  # (B,)
        terms = {
            "hard_loss": Term(hard_label_loss(exits[-1], target).sum(), count),
            "kd_loss": Term(divergence.sum(), count),
        }
        return CriterionOutput(branches.mean(0).sum(), terms)
