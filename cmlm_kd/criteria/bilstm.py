"""``bilstm_kd``: the logits of a BERT classifier as the target of a small model, such as a BiLSTM.

For an example with the student's logits z and the teacher's logits t over C classes (Tang et al., 2019,
"Distilling Task-Specific Knowledge from BERT into Simple Neural Networks")::

    mse  = 1/C sum_c (z[c] - t[c])^2
    kl   = sum_c p[c] (log p[c] - log q[c])     p = softmax(t / T), q = softmax(z / T), no T^2
    hard = - log softmax(z)[y]

    paper            loss = alpha hard + (1 - alpha) mse      summed over sentences; alpha 0 is its best
    original         loss = hard + mse                        as distill_birnn.py, y = the teacher's argmax
    original_pairs   loss = hard + kl                         as distill_siamese_rnn.py, T = 3
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss, labelled
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import entropy, soft_cross_entropy, widen
from cmlm_kd.system.ranges import POSITIVE, SHARE, check_settings, setting


@dataclass(frozen=True)
class BiLSTMKDConfig:
    """Settings of :class:`BiLSTMKD`; the defaults are the paper's best.

    Raises:
        UserError: for a value outside its range.
    """

    kd_mode: Literal["paper", "original", "original_pairs"] = field(
        default="paper",
        metadata=setting(
            "paper: squared error of the logits, and --kd-alpha of hard labels; original: squared "
            "error plus hard labels, as the released code for sentences; original_pairs: divergence plus "
            "hard labels, as its code for pairs"
        ),
    )
    kd_alpha: float = field(default=0.0, metadata=setting("weight of the hard labels in paper mode", SHARE))
    kd_labels: Literal["auto", "gold", "teacher"] = field(
        default="auto",
        metadata=setting(
            "where hard labels come from; gold: of the data; teacher: its best class, for augmented "
            "data; auto: gold in paper mode, else teacher"
        ),
    )
    kd_temperature: float = field(
        default=3.0, metadata=setting("temperature of both sides of original_pairs", POSITIVE)
    )

    def __post_init__(self) -> None:
        check_settings("bilstm_kd", self)
        if self.kd_alpha and self.kd_mode != "paper":
            raise UserError(
                f"bilstm_kd: --kd-alpha {self.kd_alpha} belongs to --kd-mode paper; in {self.kd_mode} both "
                "terms have weight 1, as in the released code"
            )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        parts = [f"kd:bilstm|mode:{self.kd_mode}"]
        if self.kd_mode == "paper":
            parts.append(f"alpha:{self.kd_alpha:g}")
        if self.kd_mode == "original_pairs":
            parts.append(f"T:{self.kd_temperature:g}")
        if self.kd_alpha or self.kd_mode != "paper":
            parts.append(f"labels:{self.labels}")
        return "|".join(parts)

    @property
    def labels(self) -> Literal["gold", "teacher"]:
        """Where hard labels come from, ``auto`` resolved."""
        if self.kd_labels != "auto":
            return self.kd_labels
        return "gold" if self.kd_mode == "paper" else "teacher"


def logits_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared difference of the logits, averaged over classes: two ``(B, C)`` -> ``(B,)``."""
    # Logits, not probabilities: a softmax squeezes what a teacher says of unlikely classes to nothing.
    return (widen(student) - widen(teacher)).square().mean(-1)


def tempered_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) in nats per example, ``(B,)``, without T^2.

    Args:
        student: ``(B, C)`` logits.
        teacher: ``(B, C)`` probabilities, at the temperature already.
        temperature: of the student, above 0.
    """
    # Cross entropy less entropy: no logarithm of a teacher's probability, which may be 0.
    return soft_cross_entropy(student, teacher, temperature) - entropy(teacher)


@kd_criteria.register("bilstm_kd", config=BiLSTMKDConfig)
class BiLSTMKD(SentenceCriterion):
    """Logits of a teacher, with or without hard labels; equations in the module docstring.

    Reads ``sample["target"]`` ``(B,)`` and the teacher's logits ``(B, C)`` (``original_pairs``: its
    probabilities, so that an ensemble of probabilities will do). The student may be any classifier, with any
    tokenizer.

    Terms, each per sentence: ``mse_loss`` or ``kl_loss``, and ``hard_loss``.

    Relation: for ``paper`` with alpha 0 the labels of the data do not matter at all.
    """

    config: BiLSTMKDConfig
    citation = """\
@article{tang-etal-2019-distilling,
    title = {Distilling Task-Specific Knowledge from {BERT} into Simple Neural Networks},
    author = {Tang, Raphael and Lu, Yao and Liu, Linqing and Mou, Lili and Vechtomova, Olga and Lin, Jimmy},
    journal = {arXiv:1903.12136},
    year = {2019},
    url = {https://arxiv.org/abs/1903.12136},
}
"""
    terms_in_nats = frozenset({"kl_loss", "hard_loss"})

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return that logits are read; see :class:`KDCriterion`.

        Raises:
            UserError: for scores in a mode other than ``paper``: the released code trains those without a
                teacher.
        """
        if student.is_regression and self.config.kd_mode != "paper":
            raise UserError(
                f"bilstm_kd: --kd-mode {self.config.kd_mode} is for classes, {student.name} predicts scores "
                "(the released code trains them without a teacher); pass --kd-mode paper"
            )
        pairs = self.config.kd_mode == "original_pairs"
        own = self.config.labels == "teacher" and not student.is_regression  # the teacher's best class
        return Needs(
            teacher=Request(),
            teacher_values="probabilities" if pairs else "logits",
            labels=not own and not (self.config.kd_mode == "paper" and self.config.kd_alpha == 0),
        )

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over sentences.

        Raises:
            UserError: if the batch carries no teacher.
        """
        if teacher is None:
            raise UserError(
                "bilstm_kd: the training batch carries no teacher; name one with --teacher DIR, or train "
                "without a teacher with --criterion sentence_classification"
            )
        config, logits = self.config, student.sentence_logits()  # (B, C)
        count = torch.tensor(len(target))
        if config.kd_mode == "original_pairs":
            probabilities = teacher.probabilities(config.kd_temperature)  # (B, C)
            name, soft = "kl_loss", tempered_kl(logits, probabilities, config.kd_temperature)  # (B,)
        else:
            name, soft = "mse_loss", logits_mse(logits, teacher.logits)  # (B,)
        labels = self._labels(target, teacher)  # (B,)
        hard = hard_label_loss(logits, labels)  # (B,)
        weights = {name: 1.0, "hard_loss": 1.0}
        if config.kd_mode == "paper":
            weights = {name: 1.0 - config.kd_alpha, "hard_loss": config.kd_alpha}
        terms = {name: Term(soft.sum(), count), "hard_loss": Term(hard.sum(), labelled(labels))}
        return CriterionOutput.weighted(weights, terms, len(target))

    def _labels(self, target: Tensor, teacher: TeacherSignal) -> Tensor:
        """Return what the hard term takes for true, ``(B,)``."""
        if self.config.labels == "gold":
            return target
        if target.is_floating_point():
            return teacher.logits.squeeze(-1)
        return teacher.probabilities().argmax(-1)
