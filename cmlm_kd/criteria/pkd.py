"""``pkd``: Patient Knowledge Distillation (Sun et al., 2019, "Patient Knowledge Distillation for BERT Model
Compression", section 3).

For student logits s, teacher logits t, class y, and the [CLS] states h_s[j], h_t[I(j)] of the student's
layers j = 1 .. M-1 (the last learns from the logits) and the teacher layers I(j) they are mapped to::

    q    = softmax(t / T)         p = softmax(s / T)
    hard = - log softmax(s)[y]
    kd   = the divergence between q and p, times T^2
    pt   = the squared distance between h_s[j] / |h_s[j]| and h_t[I(j)] / |h_t[I(j)]|
    loss = (1 - alpha) hard + alpha kd + beta pt

====  ==============================================  ==================================================
..    ``original`` (``src/KD_loss.py``)               ``paper``
====  ==============================================  ==================================================
kd    KL(q | p), mean over classes: 1/C of the sum    cross entropy of p under q, sum over classes
pt    mean over layers and their d dimensions         sum over layers and dimensions
====  ==============================================  ==================================================

Both are means over sentences. The released code also rounds the value of pt to float16, which is left out.
The paper does not mention T^2; it stays in both, so that alpha means the same at every temperature (Hinton et
al., 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss, labelled
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import Reading
from cmlm_kd.criteria.layers import LayerMap, layer_map
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import entropy, soft_cross_entropy, widen
from cmlm_kd.system.ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_settings, setting


@dataclass(frozen=True)
class PKDConfig:
    """Settings of :class:`PKD`; the defaults are those of the released code's ``kd.cls``.

    Raises:
        UserError: for a value outside its range.
    """

    kd_mode: Literal["original", "paper"] = field(
        default="original",
        metadata=setting(
            "original: the released code's reductions, which --kd-beta 10 to 1000 was tuned with; "
            "paper: sums over classes, layers and dimensions"
        ),
    )
    kd_alpha: float = field(
        default=0.7, metadata=setting("weight of the soft labels against the hard ones", SHARE)
    )
    kd_temperature: float = field(
        default=10.0,
        metadata=setting("temperature of teacher and student; the term is times T^2", POSITIVE),
    )
    kd_beta: float = field(
        default=500.0,
        metadata=setting(
            "weight of the [CLS] states; 0 compares logits alone (Hinton's distillation)", NOT_NEGATIVE
        ),
    )
    kd_layer_map: str = field(
        default="skip",
        metadata=setting(
            "teacher layers for the student's layers but the last: skip (PKD-Skip), last (PKD-Last), "
            "a list such as 2,4,6,8,10, or pairs such as 1:2,3:8"
        ),
    )
    kd_unnormalized: bool = field(
        default=False,
        metadata=setting(
            "compare [CLS] states as they are, not scaled to length 1: the released results for MNLI, "
            "QNLI and QQP do"
        ),
    )

    def __post_init__(self) -> None:
        check_settings("pkd", self)

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        parts = [f"kd:pkd|mode:{self.kd_mode}|T:{self.kd_temperature:g}|alpha:{self.kd_alpha:g}"]
        parts.append(f"beta:{self.kd_beta:g}")
        if self.kd_beta:
            parts.append(f"layers:{self.kd_layer_map}|norm:{not self.kd_unnormalized}")
        return "|".join(parts)


def tempered_soft_loss(logits: Tensor, probs: Tensor, temperature: float, mode: Reading) -> Tensor:
    """Return the soft term of each sentence, ``(B,)``, times T^2; see the module docstring.

    Args:
        logits: ``(B, C)`` of the student.
        probs: ``(B, C)``, the teacher's distribution at the temperature.
        temperature: T > 0.
        mode: ``original`` or ``paper``.
    """
    # The gradient of the cross entropy is (p - q) / T, and p - q itself shrinks like 1/T: T^2 keeps the
    # weight of the term against the hard one.
    cross_entropy = soft_cross_entropy(logits, probs, temperature)  # (B,)
    if mode == "paper":
        return temperature**2 * cross_entropy
    # The teacher's entropy has no gradient: the modes differ in value by it, in gradient by 1/C alone.
    return temperature**2 * (cross_entropy - entropy(probs)) / logits.size(-1)


def patience_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, normalize: bool, mode: Reading
) -> Tensor:
    """Return the distance of the [CLS] states of each sentence, ``(B,)``; see the module docstring.

    Args:
        student: ``(B, d)`` of each layer that learns.
        teacher: ``(B, d)`` of the layer it learns from, as many.
        normalize: scale every state to length 1 first.
        mode: ``original`` or ``paper``.
    """
    own, wanted = torch.stack(list(student), 1), torch.stack(list(teacher), 1)  # (B, L, d)
    if normalize:  # L_PT as printed: directions alone, so that no layer outweighs another by its scale
        own, wanted = F.normalize(own, dim=-1), F.normalize(wanted, dim=-1)
    squared = (own - wanted).square().flatten(1)  # (B, L * d)
    return squared.sum(1) if mode == "paper" else squared.mean(1)


@kd_criteria.register("pkd", config=PKDConfig)
class PKD(SentenceCriterion):
    """Soft labels and the teacher's [CLS] states on the way to them; equation in the module docstring.

    Reads ``sample["target"]`` ``(B,)``, of ``sample["teacher"]`` probabilities and [CLS] states, and the
    student's [CLS] states. With beta 0 it is Hinton's distillation, and several teachers make an ensemble.

    Terms: ``hard_loss``, ``kd_loss`` and ``pt_loss`` per sentence.

    Relation: ``tinybert_kd`` compares whole hidden states and attention, through a projection.

    Smallest command::

        fairseq-train SST-2 --user-dir fairseq_plugins --task classification_kd --corpus SST-2 \\
            --teacher TEACHER --arch bert_classifier --bert TEACHER --layers 3 --criterion pkd \\
            --optimizer bert_adamw --batch-size 32
    """

    config: PKDConfig
    citation = """\
@inproceedings{sun-etal-2019-patient,
    title = {Patient Knowledge Distillation for {BERT} Model Compression},
    author = {Sun, Siqi and Cheng, Yu and Gan, Zhe and Liu, Jingjing},
    booktitle = {Proceedings of EMNLP-IJCNLP 2019},
    pages = {4323--4332},
    year = {2019},
    url = {https://aclanthology.org/D19-1441},
}
"""
    terms_in_nats = frozenset({"hard_loss"})
    pairs: LayerMap | None = None

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Ask for the [CLS] states of the mapped layers; see :class:`KDCriterion`."""
        pair = f"{student.name} and {teacher.name if teacher else 'no teacher'}"
        if student.is_regression:
            raise UserError(
                f"pkd: its soft labels are distributions over classes, and {pair} predict scores; take "
                "tinybert_kd or bilstm_kd"
            )
        if teacher is None or not self.config.kd_beta:
            return Needs(teacher=NOTHING_ELSE, labels=self.config.kd_alpha < 1)
        if not (student.layers and teacher.layers):
            lacking = student if not student.layers else teacher
            raise UserError(
                f"pkd: {lacking.name} has no layers to compare ({pair}); pass --kd-beta 0 to learn from "
                "logits alone"
            )
        if student.hidden_size != teacher.hidden_size:
            raise UserError(
                f"pkd: {student.name} is {student.hidden_size} wide, {teacher.name} {teacher.hidden_size}: "
                "their [CLS] states cannot be compared; pass --kd-beta 0, or take tinybert_kd, which has a "
                "projection"
            )
        self.pairs = layer_map(
            self.config.kd_layer_map, student.layers, teacher.layers, learning=student.layers - 1, owner="pkd"
        )
        return Needs(
            student=Request(self.pairs.student, first_position=True),
            teacher=Request(tuple(sorted(set(self.pairs.teacher))), first_position=True),
            labels=self.config.kd_alpha < 1,
        )

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over sentences.

        Raises:
            UserError: if the batch carries no teacher.
        """
        if teacher is None:
            raise UserError("pkd: the training batch carries no teacher; name one with --teacher DIR")
        config, logits = self.config, student.sentence_logits()  # (B, C)
        count = torch.tensor(len(target))
        probs = teacher.probabilities(config.kd_temperature).to(logits.dtype)  # (B, C)
        soft = tempered_soft_loss(logits, probs, config.kd_temperature, config.kd_mode)  # (B,)
        weights = {"hard_loss": 1.0 - config.kd_alpha, "kd_loss": config.kd_alpha}
        terms = {
            "hard_loss": Term(hard_label_loss(logits, target).sum(), labelled(target)),
            "kd_loss": Term(soft.sum(), count),
        }
        if self.pairs is not None:
            patience = patience_loss(
                [widen(student.hidden_states[layer]) for layer in self.pairs.student],
                [widen(teacher.hidden_states[layer]) for layer in self.pairs.teacher],
                normalize=not config.kd_unnormalized,
                mode=config.kd_mode,
            )  # (B,)
            weights["pt_loss"], terms["pt_loss"] = config.kd_beta, Term(patience.sum(), count)
        return CriterionOutput.weighted(weights, terms, len(target))
