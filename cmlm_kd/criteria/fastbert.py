"""``fastbert_kd``: self-distillation of an encoder with a classifier on every layer (Liu et al., 2020,
"FastBERT: a Self-distilling BERT with Adaptive Inference Time", section 3.2).

For an example with the logits t of the teacher classifier, which sits on the last of L layers, and the logits
z_i of the branch on layer i, over C classes, with p = softmax(t) and q_i = softmax(z_i)::

    loss = sum_{i < L} KL(p | q_i) = sum_i sum_c p[c] (log p[c] - log q_i[c])
                                      direction forward, as coded (``run_fastbert.py``)
    loss = sum_{i < L} KL(q_i | p) = sum_i sum_c q_i[c] (log q_i[c] - log p[c])
                                      direction reverse, as printed (eq. 5)

summed over sentences. There are no hard labels, no temperature and no weights. The forward direction asks a
branch to cover every class that the teacher classifier finds likely, the reverse one lets it settle for one
of them. Encoder and teacher classifier are frozen; in mode ``original`` their dropout is on while they teach,
as in the released code.

What decides afterwards whether an input leaves at layer i (``models/fastbert/branch.py``)::

    uncertainty = - sum_c q_i[c] log q_i[c] / log C                    in [0, 1] (eq. 6)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import kl_of_log_probs, widen
from cmlm_kd.system.ranges import setting

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class FastBERTKDConfig:
    """Settings of :class:`FastBERTKD`."""

    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata=setting(
            "paper: what is frozen runs without dropout, so that a text has one target; original: "
            "with dropout, as the released code"
        ),
    )
    kd_direction: Direction = field(
        default="forward",
        metadata=setting(
            "forward: KL(p | q_i), of the branch from the teacher classifier, as released; reverse: "
            "KL(q_i | p), as the paper's eq. 5 prints it"
        ),
    )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        return f"kd:fastbert|mode:{self.kd_mode}|direction:{self.kd_direction}"


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
    # All branches at once: L - 1 small softmaxes one by one would be mostly overhead.
    stacked = branches if isinstance(branches, Tensor) else torch.stack(list(branches))
    own = F.log_softmax(widen(stacked), -1)  # (L - 1, B, C)
    # A teacher classifier that got a gradient would move to meet its branches, frozen encoder or not.
    wanted = F.log_softmax(widen(teacher.detach()), -1)  # (B, C)
    if direction == "reverse":  # sum_i KL(q_i | p), eq. 5 as printed
        return kl_of_log_probs(own, wanted).sum(0)
    return kl_of_log_probs(wanted.expand_as(own), own).sum(0)  # sum_i KL(p | q_i), as released


@kd_criteria.register("fastbert_kd", config=FastBERTKDConfig)
class FastBERTKD(SentenceCriterion):
    """Divergence of all branches from the teacher classifier; equations in the module docstring.

    Reads the student's logits on every layer, and nothing of the batch but its texts: they need no labels.

    Terms: ``kd_loss`` per sentence, summed over branches. In validation ``loss`` is the branches' mean loss
    of the hard labels; ``hard_loss`` is the teacher classifier's, which is frozen.

    Relation: the one criterion whose teacher is a part of the student.

    Smallest command::

        fairseq-train SST-2 --user-dir fairseq_plugins --task classification_kd --corpus SST-2 \\
            --arch fastbert --bert DIR --finetune-from-model CHECKPOINT --criterion fastbert_kd \\
            --optimizer bert_adamw --batch-size 32
    """

    config: FastBERTKDConfig
    citation = """\
@inproceedings{liu-etal-2020-fastbert,
    title = {{F}ast{BERT}: a Self-distilling {BERT} with Adaptive Inference Time},
    author = {Liu, Weijie and Zhou, Peng and Wang, Zhiruo and Zhao, Zhe and Deng, Haotang and Ju, Qi},
    booktitle = {Proceedings of ACL 2020},
    pages = {6035--6044},
    year = {2020},
    url = {https://aclanthology.org/2020.acl-main.537},
}
"""
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
