"""The base of KD criteria: student outputs and a teacher's signal in, a loss and named terms out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs
from cmlm_kd.api.signals import TeacherSignal

Level = Literal["tokens", "sentences", "text"]

NOT_MASKED = -100
"""Target of a position whose token was not masked; what torch's cross entropy leaves out."""


@dataclass(frozen=True)
class Term:
    """One named part of a loss: a sum and the count that divides it; counts differ from term to term."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class CriterionOutput:
    """The result of a criterion for one batch.

    Attributes:
        loss: the scalar to differentiate: a sum over target tokens or sentences, not divided.
        terms: the named parts to log, detached.
        counts: further numbers to add up and show as they are.
        size: what the loss is divided by later, at level ``text``; other levels are divided by target tokens
            or sentences.
    """

    loss: Tensor
    terms: dict[str, Term]
    counts: dict[str, Tensor] = field(default_factory=dict)
    size: int | Tensor = 0

    @classmethod
    def weighted(
        cls, weights: Mapping[str, float], terms: Mapping[str, Term], size: int | Tensor
    ) -> CriterionOutput:
        """Return ``size * sum_i weights[i] * terms[i].total / terms[i].count``, and all terms to be logged.

        Where every count is the number of sentences, this is the plain weighted sum over sentences. A term
        whose count is 0 adds nothing.

        Args:
            weights: weight of each term in the loss; terms without one are only logged.
            terms: not detached.
            size: what the loss is divided by later: the sentences, target tokens or positions of the batch.
        """
        # A product with 0 keeps every term in the graph, where distributed training looks for it.
        parts = [
            weight * terms[name].total / terms[name].count.clamp(min=1) for name, weight in weights.items()
        ]
        loss = size * torch.stack(parts).sum()
        logged = {name: Term(term.total.detach(), term.count) for name, term in terms.items()}
        return cls(loss, logged, size=size)


class KDCriterion(ABC):
    """Base of all KD criteria.

    A subclass is registered under a name with :data:`cmlm_kd.api.registry.kd_criteria` and is built from its
    config. It never learns where the teacher's signal comes from, nor which framework trains the student.

    Attributes:
        levels: what it is a loss over: ``tokens`` of a target (translation), ``sentences`` (whole inputs:
            classification, regression), or ``text`` (text with masked tokens: masked language
            modelling). One that knows several sees from its inputs which it is.
        terms_in_nats: names of terms that are logged in base 2, as fairseq's users expect of log-likelihoods;
            ``loss`` among them for the loss itself.
        reads_inside: whether it reads more than soft targets of a translator that teaches beside the student,
            which is then loaded before training begins.
        learns_untaught: whether it reads teachers, and yet learns something from a batch without one.
        citation: BibTeX of the paper that it follows, for whoever publishes what it trained; may be empty.
    """

    levels: ClassVar[tuple[Level, ...]] = ("tokens",)
    terms_in_nats: ClassVar[frozenset[str]] = frozenset()
    learns_untaught: ClassVar[bool] = False
    reads_inside: ClassVar[bool] = False
    citation: ClassVar[str] = ""

    def __init__(self, config: Any, padding_idx: int = -1) -> None:
        """Keep the config and the target entry that stands for padding."""
        self.config = config
        self.padding_idx = padding_idx

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return what the criterion reads of these two, besides the student's logits.

        Called once, before training. Whether the models can give it is checked by
        :func:`cmlm_kd.api.needs.check_needs`; what only this criterion knows (an impossible pair of widths, a
        kind of task it has no formula for) is refused here.

        Raises:
            UserError: naming both models.
        """
        return Needs()

    def build_modules(self, student: ModelDescription, teacher: ModelDescription | None) -> nn.Module | None:
        """Return what the criterion trains itself, such as a projection, and keep it; None for nothing.

        Called once, after :meth:`needs`. The module is optimised, saved and resumed with the student, and is
        no part of the student's export.
        """
        return None

    def resume(self, earlier: Mapping[str, Any]) -> None:
        """Take note that a training goes on, and with which settings it was trained so far.

        Settings may differ from one call to the next. Called before the first update, and only for a training
        that goes on with the moments of its optimizer.

        Args:
            earlier: names of the config's fields -> values; of a checkpoint of an earlier version perhaps not
                all of them.
        """
        return

    def begin_update(self, update: int) -> None:
        """Take note of how many updates there were (0 at the start), for losses that change over time."""
        return

    def needs_now(self) -> Needs | None:
        """Return what is read at this update, a part of what :meth:`needs` returned; None for all of it."""
        return None

    def rate_factors(self) -> Mapping[str, float] | None:
        """Return what multiplies the learning rate of each group of parameters at this update.

        Groups are those of :mod:`cmlm_kd.optim`; None for a criterion that leaves rates alone.
        """
        return None

    def wants_features(self, obstacle: str | None) -> bool:
        """Return whether the criterion takes hidden states and projects them itself.

        Args:
            obstacle: None, or why the student can only give logits.

        Raises:
            UserError: if the config insists on hidden states and there is an obstacle.
        """
        return False

    def check_teacher(self, k: int, tail_temperatures: Sequence[float]) -> None:
        """Refuse soft targets that cannot serve this criterion, before training starts.

        Args:
            k: entries per token of its soft targets.
            tail_temperatures: temperatures at which they have the tail.

        Raises:
            UserError: naming what is missing.
        """
        return

    def check_untaught(self, where: str) -> None:
        """Refuse to train without a teacher, before training starts; for a loss over target tokens.

        Other levels know their teachers when :meth:`needs` is called. Without this method a criterion whose
        ``needs(student, None)`` names a teacher is refused all the same, in more general words.

        Args:
            where: what has no teacher, such as ``--task translation``.

        Raises:
            UserError: naming it, and what has one.
        """
        return

    @abstractmethod
    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss to train on.

        Args:
            student: its logits, and what :meth:`needs` asked for.
            target: ``(B, T)`` entries, right- or left-padded with ``padding_idx``; at level ``sentences``
                ``(B,)`` classes (int64), or scores (floating) for regression; at level ``text`` ``(N,)``, the
                token that stood at each of ``student.positions``, :data:`NOT_MASKED` where it was not masked.
            teacher: what the teacher says, None for a batch without.
        """

    @abstractmethod
    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the loss by which students with and without a teacher are compared."""


class SentenceCriterion(KDCriterion):
    """Base of the criteria over whole inputs: students are compared by the loss of the hard labels."""

    levels: ClassVar[tuple[Level, ...]] = ("sentences",)

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the cross entropy of the hard labels, or the squared error of scores, summed over
        sentences."""
        hard = hard_label_loss(student.sentence_logits(), target).sum()
        return CriterionOutput(hard, {"hard_loss": Term(hard.detach(), torch.tensor(len(target)))})


NO_CLASS = -1
"""Target of a sentence without a label (``--unlabelled``)."""


def hard_label_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each sentence, ``(B,)``: cross entropy of a class, or squared error of a score.

    Args:
        logits: ``(B, C)``, or ``(B, 1)`` for scores.
        target: ``(B,)``; classes (int64), or scores (floating). :data:`NO_CLASS` costs nothing.
    """
    if target.is_floating_point():
        return (logits.squeeze(-1) - target.to(logits.dtype)).square()
    return F.cross_entropy(logits, target, reduction="none", ignore_index=NO_CLASS)


def labelled(target: Tensor) -> Tensor:
    """Return how many sentences of a batch have a class or a score: what :func:`hard_label_loss` is over."""
    return (target != NO_CLASS).sum() if not target.is_floating_point() else torch.tensor(len(target))
