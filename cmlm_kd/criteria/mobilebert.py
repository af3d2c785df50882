"""``mobilebert_kd``: MobileBERT's knowledge transfer and distillation (Sun et al., 2020, section 3.4, 3.5).

For the layers of a map, M of them, and a sentence; the terms stand in
:mod:`cmlm_kd.criteria.mobilebert_transfer`, with what ``paper`` and ``original`` change::

    transfer     = 1/M sum over layers (w_f feature map + w_a attention + w_m mean + w_v variance)
    distillation = CE(r onehot(y) + (1 - r) softmax(z_teacher), softmax(z_student)) at hidden pieces

Which of the two, and of which layers, is a matter of the strategy and the time
(:mod:`cmlm_kd.criteria.mobilebert_schedule`). Next-sentence prediction, which paper and code add to the
distillation, is left out: lines of running text are no pairs of sentences, and BERTs are no worse without it
(Liu et al., 2019, "RoBERTa", table 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, ModelOutput, Term
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_settings, present
from cmlm_kd.criteria.layer_map import LayerMap, layer_map
from cmlm_kd.criteria.masked_lm_loss import hidden_rows, masked_output
from cmlm_kd.criteria.mobilebert_schedule import Schedule, Stage
from cmlm_kd.criteria.mobilebert_transfer import (
    OWNER,
    STATISTICS,
    distillation_count,
    distillation_term,
    refuse_misfits,
    transfer_terms,
)
from cmlm_kd.errors import UserError
from cmlm_kd.losses.dense_teacher import DenseTeacherBlocks, TeacherProjection
from cmlm_kd.losses.divergences import widen
from cmlm_kd.losses.projection import projected_loss

STATISTICS_WEIGHTS = {"original": (5000.0, 5.0), "paper": (0.0, 0.0)}
"""Weights of means and variances: the released command's. In ``paper`` mode the feature maps, which are not
normalised there, contain them."""


@dataclass(frozen=True)
class MobileBertConfig:
    """Settings of ``mobilebert_kd``; weights are those of the released command.

    Raises:
        UserError: for a value outside its range.
    """

    kd_strategy: Literal["progressive", "joint", "auxiliary"] = field(
        default="progressive",
        metadata={
            "help": "progressive: transfer layer by layer, then distil; joint: all layers, then distil; "
            "auxiliary: both at once"
        },
    )
    kd_transfer_updates: int | None = field(
        default=None,
        metadata={
            "help": "updates of knowledge transfer before distillation, 0 or more; 0: distillation alone, "
            "for a student that learned the rest before; not with --kd-strategy auxiliary"
        },
    )
    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata={
            "help": "paper: feature maps as they are, means over a sentence's own tokens; original: the "
            "released code's arithmetic: feature maps normalised, their means and variances apart (against "
            "those of all teacher layers), padding counted"
        },
    )
    kd_layer_map: str = field(
        default="uniform",
        metadata={
            "help": "uniform, last, a teacher layer for each student layer (2,4,6), or pairs (1:2,3:6); "
            "equally deep models learn layer from layer"
        },
    )
    kd_feature_map_weight: float = field(
        default=100.0, metadata={"help": "weight of the feature maps, 0 or more; 0 leaves them out"}
    )
    kd_attention_weight: float = field(
        default=1.0,
        metadata={"help": "weight of attention, 0 or more; 0 leaves it out and lets head counts differ"},
    )
    kd_mean_weight: float | None = field(
        default=None,
        metadata={
            "help": "weight of the feature maps' means, 0 or more; default: 5000 in original, 0 in paper mode"
        },
    )
    kd_variance_weight: float | None = field(
        default=None,
        metadata={"help": "weight of their variances, 0 or more; default: 5 in original, 0 in paper mode"},
    )
    kd_hard_share: float = field(
        default=0.5, metadata={"help": "share of the true piece in distillation, in [0, 1]; 1: no teacher"}
    )
    kd_current_rate: float = field(
        default=3.0,
        metadata={"help": "progressive: rate of the layer whose turn it is, times --lr, above 0"},
    )
    kd_finished_rate: float = field(
        default=0.3, metadata={"help": "progressive: rate of the layers below, 0 or more; 0 freezes them"}
    )
    kd_embedding_rate: float = field(
        default=0.0,
        metadata={
            "help": "progressive: rate of embeddings and head during the transfer, 0 or more; 0 for those "
            "that are the teacher's"
        },
    )

    def __post_init__(self) -> None:
        check_settings(
            OWNER,
            self,
            kd_feature_map_weight=NOT_NEGATIVE,
            kd_attention_weight=NOT_NEGATIVE,
            kd_mean_weight=NOT_NEGATIVE,
            kd_variance_weight=NOT_NEGATIVE,
            kd_finished_rate=NOT_NEGATIVE,
            kd_embedding_rate=NOT_NEGATIVE,
            kd_current_rate=POSITIVE,
            kd_hard_share=SHARE,
            kd_transfer_updates=NOT_NEGATIVE,
        )
        if self.kd_strategy == "auxiliary" and self.kd_transfer_updates is not None:
            raise UserError(
                f"{OWNER}: --kd-transfer-updates has no meaning for --kd-strategy auxiliary, which "
                "transfers and distils all the time; leave it out"
            )
        if self.transfers and not any(self.weights.values()):
            raise UserError(
                f"{OWNER}: all weights of the transfer are 0, so that it would teach nothing; raise "
                "one, or pass --kd-strategy joint --kd-transfer-updates 0 for distillation alone"
            )

    @property
    def transfers(self) -> bool:
        """Whether there is knowledge transfer at all."""
        return self.kd_strategy == "auxiliary" or self.kd_transfer_updates != 0

    @property
    def weights(self) -> dict[str, float]:
        """The transfer's terms with their weights."""
        mean, variance = STATISTICS_WEIGHTS[self.kd_mode]
        return {
            "feature_map_loss": self.kd_feature_map_weight,
            "attention_loss": self.kd_attention_weight,
            "mean_loss": mean if self.kd_mean_weight is None else self.kd_mean_weight,
            "variance_loss": variance if self.kd_variance_weight is None else self.kd_variance_weight,
        }

    @property
    def reads_states(self) -> bool:
        """Whether the transfer compares hidden states, and not attention alone."""
        return any(weight for name, weight in self.weights.items() if name != "attention_loss")

    @property
    def compares_all_layers(self) -> bool:
        """Whether statistics are compared with those of all the teacher's hidden states."""
        return self.kd_mode == "original" and any(self.weights[name] for name in STATISTICS)

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        weights = ",".join(f"{weight:g}" for weight in self.weights.values())
        parts = [f"kd:mobilebert|strategy:{self.kd_strategy}|transfer:{self.kd_transfer_updates}"]
        parts.append(f"mode:{self.kd_mode}|layers:{self.kd_layer_map}|weights:{weights}")
        parts.append(f"hard:{self.kd_hard_share:g}")
        if self.kd_strategy == "progressive":
            rates = (self.kd_current_rate, self.kd_finished_rate, self.kd_embedding_rate)
            parts.append("rates:" + ",".join(f"{rate:g}" for rate in rates))
        return "|".join(parts)


@kd_criteria.register("mobilebert_kd", config=MobileBertConfig)
class MobileBertKD(KDCriterion):
    """MobileBERT's losses on running text, in their order; equations in the module docstring.

    Reads hidden states and attention scores of the mapped layers of student and teacher while they are
    transferred, and what both predict at hidden pieces while that is distilled.

    Terms: ``feature_map_loss``, ``attention_loss``, ``mean_loss`` and ``variance_loss`` a sentence (the mean
    of the layers that learn, before weights), ``distillation_loss`` a hidden piece.

    Relation: ``tinybert_kd`` compares attention before the softmax and projects states; ``distilbert_kd``
    distils predictions at a temperature.

    Smallest command: docs/criteria/mobilebert_kd.md.
    """

    levels = ("text",)
    terms_in_nats = frozenset({"distillation_loss"})

    config: MobileBertConfig
    layers: LayerMap
    schedule: Schedule
    _stage: Stage
    _update: int = 0
    _teacher_states: tuple[int, ...] = ()

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return everything that is read at any time.

        Raises:
            UserError: naming both models, if depths, widths, heads or the number of updates do not fit.
        """
        config = self.config
        if teacher is None:
            return Needs(Request(), Request())  # refused as for every criterion
        owner = f"{OWNER}: {student.name} and {teacher.name}"
        self.layers = layer_map(config.kd_layer_map, student.layers, teacher.layers, owner=owner)
        self._teacher_states = tuple(range(teacher.layers + 1))
        if config.transfers:
            refuse_misfits(
                student, teacher, attention=config.kd_attention_weight > 0, states=config.reads_states
            )
        self.schedule = self._make_schedule(student)
        self.begin_update(0)
        layers = range(len(self.layers)) if config.transfers else range(0)
        return self._needs(Stage(layers, distils=True))

    def _make_schedule(self, student: ModelDescription) -> Schedule:
        config, layers = self.config, len(self.layers)
        updates = config.kd_transfer_updates
        if updates is None and config.kd_strategy != "auxiliary":
            raise UserError(
                f"{OWNER}: --kd-transfer-updates is missing; give the updates of knowledge transfer, "
                f"{layers} or more for {layers} layers, or 0 for distillation alone"
            )
        if config.kd_strategy == "progressive" and updates and updates < layers:
            raise UserError(
                f"{OWNER}: --kd-transfer-updates {updates} leaves no update for each of {layers} "
                f"layers of {student.name}; give {layers} or more"
            )
        return Schedule(
            config.kd_strategy,
            self.layers.student,
            student.layers,
            updates or 0,
            config.kd_current_rate,
            config.kd_finished_rate,
            config.kd_embedding_rate,
        )

    def _needs(self, stage: Stage) -> Needs:
        """Return what is read in a stage."""
        learn = self.config.kd_hard_share < 1.0  # from the teacher, where predictions are distilled
        student, teacher = (
            self._request([layers[i] for i in stage.transfers], predicts=stage.distils and reads)
            for layers, reads in ((self.layers.student, True), (self.layers.teacher, learn))
        )
        if stage.transfers and self.config.compares_all_layers:
            teacher = replace(teacher, hidden_states=self._teacher_states)
        reads_teacher = bool(stage.transfers) or learn
        return Needs(student, teacher if reads_teacher else None)

    def _request(self, layers: list[int], *, predicts: bool) -> Request:
        config = self.config
        return Request(
            hidden_states=tuple(layers) if config.reads_states else (),
            attention_scores=tuple(layers) if config.kd_attention_weight else (),
            predictions="masked" if predicts else "none",
        )

    def begin_update(self, update: int) -> None:
        """Take note of the time, and with it of the stage."""
        self._update, self._stage = update, self.schedule.stage(update)

    def needs_now(self) -> Needs:
        """Return what is read in the stage."""
        return self._needs(self._stage)

    def rate_factors(self) -> Mapping[str, float] | None:
        """Return the rate factors of the progressive strategy."""
        return self.schedule.rate_factors(self._update)

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss of the stage.

        It is divided by sentences while knowledge is transferred, else by hidden pieces.

        Raises:
            ValueError: if the batch lacks what :meth:`needs_now` asks of the teacher.
        """
        config, stage = self.config, self._stage
        weights: dict[str, float] = {}
        terms: dict[str, Term] = {}
        size = len(hidden_rows(target))
        if stage.transfers:
            size = present(student.attention_mask, OWNER).size(0)
            terms = self._transfer(student, present(teacher, OWNER), size)
            share = len(stage.transfers) / len(self.layers)
            weights = {name: share * config.weights[name] for name in terms}
        if stage.distils:
            terms["distillation_loss"] = self._distillation(student, target, teacher)
            weights["distillation_loss"] = 1.0
        return CriterionOutput.weighted(weights, terms, torch.tensor(size, device=target.device))

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the loss of the hidden pieces."""
        return masked_output(student, target)

    def _transfer(self, student: ModelOutput, teacher: TeacherSignal, sentences: int) -> dict[str, Term]:
        """Return the terms that have a weight, of the layers whose turn it is."""
        names = [name for name, weight in self.config.weights.items() if weight]
        layers = list(self.layers)
        pairs = [layers[i] for i in self._stage.transfers]
        values = transfer_terms(
            student, teacher, names, pairs, self.config.kd_mode, self._teacher_states
        )  # name -> (B,)
        count = torch.tensor(sentences, device=present(student.attention_mask, OWNER).device)
        return {name: Term(each.sum(), count) for name, each in values.items()}

    def _distillation(self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None) -> Term:
        rows, share = hidden_rows(target), self.config.kd_hard_share  # (M,)
        count = distillation_count(torch.tensor(len(rows), device=target.device), self.config.kd_mode)
        if share == 1.0:
            return Term(masked_output(student, target).loss, count)
        teacher = present(teacher, OWNER)
        if student.features is None or teacher.features is None:
            logits, beliefs = (
                student.vocabulary_logits(rows),
                teacher.vocabulary_logits()[rows],
            )  # (M, V) each
            return Term(distillation_term(logits, beliefs.softmax(-1), target[rows], share).sum(), count)
        features, weight = student.projection()  # (N, d), (V, d)
        hard_weight = widen(features.new_full((len(rows),), share))  # (M,)
        blocks = DenseTeacherBlocks(
            TeacherProjection(teacher.features[rows], present(teacher.weight, OWNER), teacher.bias),
            target[rows],
            soft_weight=1.0 - hard_weight,
            hard_weight=hard_weight,
            cross_entropy=True,
        )
        return Term(projected_loss(features[rows], weight, student.bias, blocks), count)
