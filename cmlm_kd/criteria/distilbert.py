"""``distilbert_kd``: DistilBERT's pre-training (Sanh et al., 2019, "DistilBERT, a distilled version of
BERT").

For one position with logits z over V entries, gold entry y where it was masked, and last hidden states h::

    kl      = T^2 sum over V  p_teacher (log p_teacher - log p_student),    p = softmax(z / T) on both sides
    mlm     = - log softmax(z_student)[y]                                    masked positions alone
    cosine  = 1 - cos(h_student, h_teacher)
    mse     = sum over V  (z_student - z_teacher)^2                          optional

and over N real positions of a text, of which M were masked::

    loss    = w_soft mean(kl) + w_mlm mean(mlm) + w_cos mean(cosine) + w_mse mean(mse)
            = 5 mean(kl) + 2 mean(mlm) + 1 mean(cosine) + 0 mean(mse)        weights of the released models

kl and mse are means over the real positions, or over the masked ones; mlm is one over the masked, the cosine
one over the real ones: each term is divided by the positions that it was taken at. That is what
``distiller.py: Distiller.step`` of the released code does: ``batchmean`` over the selected tokens, a sum of
squares over their number, the mean of the cosine loss. The paper writes kl as a cross entropy, whose gradient
is the same and whose value is not, and gives no reduction: these terms have no modes. Where paper and code
part is in the embeddings of positions (:mod:`cmlm_kd.models.inherit`).

kl, mlm and mse need the logits of student and teacher, which by default are projected chunk by chunk, without
the matrix of logits (:mod:`cmlm_kd.losses.dense_teacher`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import NOT_MASKED, CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import required, takes_fused
from cmlm_kd.criteria.masked_lm_loss import masked_output, masked_rows
from cmlm_kd.errors import UserError
from cmlm_kd.losses.dense_teacher import DenseTeacherBlocks, TeacherProjection
from cmlm_kd.losses.divergences import kl_of_log_probs, widen
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.system.ranges import NOT_NEGATIVE, POSITIVE, check_settings, setting


@dataclass(frozen=True)
class DistilBertConfig:
    """Settings of :class:`DistilBertKD`; the defaults are those of the released models.

    Raises:
        UserError: for a value outside its range.
    """

    kd_temperature: float = field(
        default=2.0, metadata=setting("temperature of student and teacher; the term has T^2", POSITIVE)
    )
    kd_soft_weight: float = field(
        default=5.0, metadata=setting("weight of the divergence from the teacher", NOT_NEGATIVE)
    )
    kd_mlm_weight: float = field(
        default=2.0, metadata=setting("weight of the loss of the masked tokens", NOT_NEGATIVE)
    )
    kd_cosine_weight: float = field(
        default=1.0,
        metadata=setting(
            "weight of the cosine loss of the last hidden states; 0 lets widths differ", NOT_NEGATIVE
        ),
    )
    kd_mse_weight: float = field(
        default=0.0, metadata=setting("weight of the squared difference of logits", NOT_NEGATIVE)
    )
    kd_positions: Literal["real", "masked"] = field(
        default="real",
        metadata=setting(
            "where logits are compared; real: everywhere but in padding; masked: where tokens are "
            "masked (--restrict_ce_to_mask of the released code), in a fraction of the time"
        ),
    )
    kd_implementation: Literal["auto", "fused", "dense"] = field(
        default="auto",
        metadata=setting(
            "fused never holds the (positions, vocabulary) matrix; auto: fused where models allow"
        ),
    )

    def __post_init__(self) -> None:
        check_settings("distilbert_kd", self)
        if not any(self.weights.values()):
            raise UserError(
                f"distilbert_kd: {', '.join(self.weights)} are all 0, so that nothing would be learned; "
                "raise one"
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weights by flag."""
        return {
            "--kd-soft-weight": self.kd_soft_weight,
            "--kd-mlm-weight": self.kd_mlm_weight,
            "--kd-cosine-weight": self.kd_cosine_weight,
            "--kd-mse-weight": self.kd_mse_weight,
        }

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        weights = ",".join(f"{weight:g}" for weight in self.weights.values())
        return f"kd:distilbert|T:{self.kd_temperature:g}|weights:{weights}|positions:{self.kd_positions}"


def kl_term(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the Kullback-Leibler divergence of the student from the teacher, times T^2, ``(N,)``.

    Args:
        student: logits ``(N, V)``.
        teacher: logits ``(N, V)``.
        temperature: T above 0, of both sides.
    """
    log_student = F.log_softmax(widen(student) / temperature, -1)  # (N, V)
    log_teacher = F.log_softmax(widen(teacher) / temperature, -1)  # (N, V)
    divergence = kl_of_log_probs(log_teacher, log_student)  # (N,)
    # The gradient, T (p_student - p_teacher), keeps its size as T grows (Hinton et al., 2015).
    return temperature**2 * divergence


def mlm_term(student: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of what was masked, ``(N,)``: logits ``(N, V)``, ids ``(N,)``."""
    return F.cross_entropy(widen(student), target, reduction="none")


def logits_mse_term(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared difference of logits ``(N, V)`` without temperature, summed over V: ``(N,)``."""
    return (widen(student) - widen(teacher)).square().sum(-1)


def cosine_term(student: Tensor, teacher: Tensor) -> Tensor:
    """Return ``1 - cos`` of hidden states ``(N, d)`` of equal width, in [0, 2]: ``(N,)``."""
    cosine: Tensor = torch.cosine_similarity(widen(student), widen(teacher), dim=-1)  # (N,)
    return 1.0 - cosine


@kd_criteria.register("distilbert_kd", config=DistilBertConfig)
class DistilBertKD(KDCriterion):
    """DistilBERT's loss over masked text; equations in the module docstring.

    Reads, of student and teacher, what their output layers project (or logits) at the compared positions and,
    for the cosine, their last hidden states; the tokens that were masked. Where no logits are compared, the
    teacher predicts nothing and the student what was masked.

    Terms: ``kl_loss`` (with T^2) and ``mse_loss`` per compared position, ``mlm_loss`` per masked one,
    ``cosine_loss`` per real one. Terms without weight are left out.

    The loss of a batch is multiplied with its real positions and divided by them later, so that of several
    batches of an update each counts by its size; where all terms are of masked tokens, with those. Divided by
    the counts of its own batch, a term does not change with that but for one of masked tokens beside one of
    real positions, as far as the share of masked tokens differs between batches.

    Relation: with ``--kd-mlm-weight`` alone it is ``bert_mlm``. Smallest command:
    docs/criteria/distilbert_kd.md.
    """

    config: DistilBertConfig
    citation = """\
@article{sanh-etal-2019-distilbert,
    title = {{DistilBERT}, a distilled version of {BERT}: smaller, faster, cheaper and lighter},
    author = {Sanh, Victor and Debut, Lysandre and Chaumond, Julien and Wolf, Thomas},
    journal = {arXiv:1910.01108},
    year = {2019},
    url = {https://arxiv.org/abs/1910.01108},
}
"""
    levels = ("text",)
    terms_in_nats = frozenset({"mlm_loss"})
    last: tuple[int, int] = (0, 0)

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return predictions where they are compared and, for the cosine, the last hidden states.

        Raises:
            UserError: naming both models, if widths do not fit or the student is the deeper one.
        """
        config = self.config
        if teacher is None:
            return Needs(teacher=Request())  # refused as for every criterion
        if config.kd_cosine_weight and student.hidden_size != teacher.hidden_size:
            raise UserError(
                f"distilbert_kd: {student.name} and {teacher.name} have hidden states of width "
                f"{student.hidden_size} and {teacher.hidden_size}, of which there is no cosine; give the "
                "student the teacher's width, or pass --kd-cosine-weight 0"
            )
        if config.kd_cosine_weight and student.layers > teacher.layers:
            raise UserError(
                f"distilbert_kd: {student.name} has {student.layers} layers and {teacher.name} has "
                f"{teacher.layers}; give the student as many or fewer, or compare predictions alone with "
                "--kd-cosine-weight 0"
            )
        self.last = (student.layers, teacher.layers)
        own, theirs = ((layer,) if config.kd_cosine_weight else () for layer in self.last)
        if self._compares_logits:
            predicted = Request(own, predictions=config.kd_positions)
            return Needs(predicted, replace(predicted, hidden_states=theirs), teacher_values="logits")
        alone = Request(own, predictions="masked" if config.kd_mlm_weight else "none")
        return Needs(alone, Request(theirs, predictions="none"), teacher_values="logits")

    @property
    def _reads_real_positions(self) -> bool:
        """Whether a term is of all real positions, not of masked tokens alone."""
        compared = self._compares_logits and self.config.kd_positions == "real"
        return bool(compared or self.config.kd_cosine_weight)

    @property
    def _compares_logits(self) -> bool:
        return bool(self.config.kd_soft_weight or self.config.kd_mse_weight)

    def wants_features(self, obstacle: str | None) -> bool:
        """Return whether the fused implementation is to be used; see :class:`KDCriterion`."""
        return takes_fused("distilbert_kd", self.config.kd_implementation, obstacle)

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss, summed over real positions.

        Raises:
            ValueError: if the batch lacks what :meth:`needs` asked for.
        """
        teacher = required(teacher, "distilbert_kd")
        mask = required(student.attention_mask, "distilbert_kd")  # (B, S)
        size = mask.sum() if self._reads_real_positions else (target != NOT_MASKED).sum()  # N, or M
        parts = []
        if self._compares_logits:
            parts.append(self._logits_part(student, target, teacher, size))
        elif self.config.kd_mlm_weight:
            parts.append(self._weighted({"mlm_loss": _mlm(student, target)}, size))
        if self.config.kd_cosine_weight:
            real = mask.flatten().nonzero().squeeze(1)  # (N,)
            states = student.hidden_states[self.last[0]], teacher.hidden_states[self.last[1]]
            own, theirs = (hidden.flatten(0, 1)[real] for hidden in states)  # (N, d)
            parts.append(self._weighted({"cosine_loss": Term(cosine_term(own, theirs).sum(), size)}, size))
        loss = torch.stack([part.loss for part in parts]).sum()
        terms = {name: term for part in parts for name, term in part.terms.items()}
        return CriterionOutput(loss, terms, size=size)

    def _weighted(self, terms: dict[str, Term], size: Tensor) -> CriterionOutput:
        return CriterionOutput.weighted({name: self._weights[name] for name in terms}, terms, size)

    def _logits_part(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal, size: Tensor
    ) -> CriterionOutput:
        no_features = student.features is None or teacher.features is None
        obstacle = "student or teacher has an output layer that is no plain matrix" if no_features else None
        if self.wants_features(obstacle):
            return self._fused(student, target, teacher, size)
        return self._dense(student, target, teacher, size)

    def _dense(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal, size: Tensor
    ) -> CriterionOutput:
        """Return what comes of the two (N, V) matrices."""
        config, compared = self.config, torch.tensor(len(target), device=target.device)
        own, theirs = student.vocabulary_logits(), teacher.vocabulary_logits()  # (N, V) each
        terms = {}
        if config.kd_soft_weight:
            terms["kl_loss"] = Term(kl_term(own, theirs, config.kd_temperature).sum(), compared)
        if config.kd_mlm_weight:
            terms["mlm_loss"] = _mlm(ModelOutput(logits=own), target)
        if config.kd_mse_weight:
            terms["mse_loss"] = Term(logits_mse_term(own, theirs).sum(), compared)
        return self._weighted(terms, size)

    @property
    def _weights(self) -> dict[str, float]:
        config = self.config
        return {
            "kl_loss": config.kd_soft_weight,
            "mlm_loss": config.kd_mlm_weight,
            "mse_loss": config.kd_mse_weight,
            "cosine_loss": config.kd_cosine_weight,
        }

    def _fused(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal, size: Tensor
    ) -> CriterionOutput:
        """Return the same without the matrices: weights become those of single positions."""
        features, weight = student.projection()
        if teacher.features is None or teacher.weight is None:
            raise ValueError("distilbert_kd: the batch carries no features of the teacher")
        kind = torch.promote_types(features.dtype, torch.float32)
        masked = target != NOT_MASKED  # (N,)
        compared = torch.tensor(len(target), device=target.device)
        counts = {"kl_loss": compared, "mlm_loss": masked.sum(), "mse_loss": compared}
        # Each term is a mean, and the size divides the batch's sum later: one weight per position.
        share = {
            name: self._weights[name] * size.to(kind) / count.clamp(min=1) for name, count in counts.items()
        }
        everywhere = torch.ones_like(target, dtype=kind)  # (N,)
        blocks = DenseTeacherBlocks(
            TeacherProjection(teacher.features, teacher.weight, teacher.bias),
            target,
            soft_weight=everywhere * share["kl_loss"],
            hard_weight=masked * everywhere * share["mlm_loss"],
            mse_weight=everywhere * share["mse_loss"] if self.config.kd_mse_weight else None,
            temperature=self.config.kd_temperature,
        )
        loss = projected_loss(features, weight, student.bias, blocks)
        sums = {"kl_loss": blocks.soft.sum(), "mlm_loss": blocks.hard.sum(), "mse_loss": blocks.mse.sum()}
        terms = {name: Term(sums[name], counts[name]) for name in sums if self._weights[name]}
        return CriterionOutput(loss, terms, size=size)

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the loss of the masked tokens, by which students are compared."""
        return masked_output(student, target)


def _mlm(student: ModelOutput, target: Tensor) -> Term:
    """Return the loss of the masked tokens, summed over them."""
    rows = masked_rows(target)  # (M,)
    return Term(
        mlm_term(student.vocabulary_logits(rows), target[rows]).sum(),
        torch.tensor(len(rows), device=target.device),
    )
