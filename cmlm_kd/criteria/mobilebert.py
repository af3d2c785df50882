"""``mobilebert_kd``: MobileBERT's knowledge transfer and distillation (Sun et al., 2020, "MobileBERT: a
Compact Task-Agnostic BERT for Resource-Limited Devices", sections 3.4 and 3.5).

For the M layers of a map and a sentence, and for the logits z at a masked position whose token is y::

    transfer     = 1/M sum over layers (w_f feature map + w_a attention + w_m mean + w_v variance)
    distillation = CE(r onehot(y) + (1 - r) softmax(z_teacher), softmax(z_student))

How layers are compared, in two readings: :mod:`cmlm_kd.criteria.mobilebert_transfer`. Which of the two is
learned at an update, of which layers and at which rates: :mod:`cmlm_kd.criteria.mobilebert_schedule`.

``original`` divides the summed distillation by the number of masked positions + 1e-5, ``paper`` by their
number. The temperature of the released code multiplies hidden states before the head, so that only 1 means
anything, and there is none here. Next-sentence prediction, which paper and code add to the distillation, is
left out: lines of text are no pairs of sentences, and BERTs are no worse without it (Liu et al., 2019,
"RoBERTa", table 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import Reading, required
from cmlm_kd.criteria.layers import LayerMap, layer_map
from cmlm_kd.criteria.masked_lm_loss import masked_output, masked_rows
from cmlm_kd.criteria.mobilebert_schedule import Schedule, Stage
from cmlm_kd.criteria.mobilebert_transfer import (
    OWNER,
    STATISTICS,
    refuse_misfits,
    transfer_terms,
)
from cmlm_kd.errors import UserError
from cmlm_kd.losses.dense_teacher import DenseTeacherBlocks, TeacherProjection
from cmlm_kd.losses.divergences import widen
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.system.ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_settings, setting

STATISTICS_WEIGHTS = {"original": (5000.0, 5.0), "paper": (0.0, 0.0)}
"""Weights of means and variances: the released command's. In ``paper`` mode the feature maps, which are not
normalised there, contain them."""

COUNT_EPSILON = 1e-5
"""What ``original`` adds to the number of masked positions that divides the distillation term."""


@dataclass(frozen=True)
class MobileBertConfig:
    """Settings of ``mobilebert_kd``; weights are those of the released command.

    Raises:
        UserError: for a value outside its range.
    """

    kd_strategy: Literal["progressive", "joint", "auxiliary"] = field(
        default="progressive",
        metadata=setting(
            "progressive: transfer layer by layer, then distil; joint: all layers, then distil; "
            "auxiliary: both at once"
        ),
    )
    kd_transfer_updates: int | None = field(
        default=None,
        metadata=setting(
            "N, updates of knowledge transfer before distillation: as many as layers, at least; 0: "
            "distillation alone, for a student that learned the rest before; not with --kd-strategy "
            "auxiliary",
            NOT_NEGATIVE,
        ),
    )
    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata=setting(
            "paper: feature maps as they are, means over a sentence's own tokens; original: the "
            "released code's arithmetic: feature maps normalised, their means and variances apart (against "
            "those of all teacher layers), padding counted"
        ),
    )
    kd_layer_map: str = field(
        default="uniform",
        metadata=setting(
            "uniform, last, a teacher layer for each student layer (2,4,6), or pairs (1:2,3:6); "
            "equally deep models learn layer from layer"
        ),
    )
    kd_feature_map_weight: float = field(
        default=100.0, metadata=setting("weight w_f of the feature maps; 0 leaves them out", NOT_NEGATIVE)
    )
    kd_attention_weight: float = field(
        default=1.0,
        metadata=setting(
            "weight w_a of attention; 0 leaves it out and lets head counts differ", NOT_NEGATIVE
        ),
    )
    kd_mean_weight: float | None = field(
        default=None,
        metadata=setting(
            "weight w_m of the feature maps' means; left out: 5000 in original, 0 in paper mode", NOT_NEGATIVE
        ),
    )
    kd_variance_weight: float | None = field(
        default=None,
        metadata=setting(
            "weight w_v of their variances; left out: 5 in original, 0 in paper mode", NOT_NEGATIVE
        ),
    )
    kd_hard_share: float = field(
        default=0.5, metadata=setting("share r of the true token in distillation; 1: no teacher", SHARE)
    )
    kd_current_rate: float = field(
        default=3.0,
        metadata=setting("progressive: rate of the layer whose turn it is, times --lr", POSITIVE),
    )
    kd_finished_rate: float = field(
        default=0.3, metadata=setting("progressive: rate of the layers below; 0 freezes them", NOT_NEGATIVE)
    )
    kd_embedding_rate: float = field(
        default=0.0,
        metadata=setting(
            "progressive: rate of embeddings and head during the transfer; 0 for those "
            "that are the teacher's",
            NOT_NEGATIVE,
        ),
    )

    def __post_init__(self) -> None:
        check_settings(OWNER, self)
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


def distillation_term(student: Tensor, teacher: Tensor, target: Tensor, hard_share: float) -> Tensor:
    """Return the cross entropy with gold entry and teacher mixed, ``(N,)``.

    Equal to ``r`` times the negative log-likelihood plus ``1 - r`` times the cross entropy of the teacher.

    Args:
        student: logits ``(N, V)`` at the masked positions.
        teacher: probabilities ``(N, V)``.
        target: ``(N,)``, what stood there.
        hard_share: r in [0, 1]; at 1 the teacher has no part in it.
    """
    # A cross entropy is linear in its target, so that the two parts may be computed apart.
    log_probs = F.log_softmax(widen(student), -1)  # (N, V)
    nll = -log_probs.gather(1, target.unsqueeze(1)).squeeze(1)  # (N,)
    soft = -(teacher * log_probs).sum(1)  # (N,)
    return hard_share * nll + (1.0 - hard_share) * soft


def distillation_count(positions: Tensor, mode: Reading) -> Tensor:
    """Return what divides the summed distillation term of so many masked positions (a scalar tensor)."""
    return positions.double() + COUNT_EPSILON if mode == "original" else positions


@kd_criteria.register("mobilebert_kd", config=MobileBertConfig)
class MobileBertKD(KDCriterion):
    """MobileBERT's losses on masked text, in their order; equations in the module docstring.

    Reads hidden states and attention scores of the mapped layers of student and teacher while they are
    transferred, and what both predict at masked tokens while that is distilled.

    Terms: ``feature_map_loss``, ``attention_loss``, ``mean_loss`` and ``variance_loss`` per sentence (the
    mean of the layers that learn, before weights), ``distillation_loss`` per masked token.

    Relation: ``tinybert_kd`` compares attention before the softmax and projects states; ``distilbert_kd``
    distils predictions at a temperature.

    Smallest command: docs/criteria/mobilebert_kd.md.
    """

    citation = """\
@inproceedings{sun-etal-2020-mobilebert,
    title = {{M}obile{BERT}: a Compact Task-Agnostic {BERT} for Resource-Limited Devices},
    author = {Sun, Zhiqing and Yu, Hongkun and Song, Xiaodan and Liu, Renjie and Yang, Yiming and
        Zhou, Denny},
    booktitle = {Proceedings of ACL 2020},
    pages = {2158--2170},
    year = {2020},
    url = {https://aclanthology.org/2020.acl-main.195},
}
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

        It is divided by sentences while knowledge is transferred, else by masked tokens.

        Raises:
            ValueError: if the batch lacks what :meth:`needs_now` asks of the teacher.
        """
        config, stage = self.config, self._stage
        weights: dict[str, float] = {}
        terms: dict[str, Term] = {}
        size = len(masked_rows(target))
        if stage.transfers:
            size = required(student.attention_mask, OWNER).size(0)
            terms = self._transfer(student, required(teacher, OWNER), size)
            # Terms are means over the layers whose turn it is; the equation's mean is over all M.
            share = len(stage.transfers) / len(self.layers)
            weights = {name: share * config.weights[name] for name in terms}
        if stage.distils:
            # Its count divides it: with auxiliary training the loss is per sentence, this term per token.
            terms["distillation_loss"] = self._distillation(student, target, teacher)
            weights["distillation_loss"] = 1.0
        return CriterionOutput.weighted(weights, terms, torch.tensor(size, device=target.device))

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the loss of the masked tokens."""
        return masked_output(student, target)

    def _transfer(self, student: ModelOutput, teacher: TeacherSignal, sentences: int) -> dict[str, Term]:
        """Return the terms that have a weight, of the layers whose turn it is."""
        names = [name for name, weight in self.config.weights.items() if weight]
        layers = list(self.layers)
        pairs = [layers[i] for i in self._stage.transfers]
        values = transfer_terms(
            student, teacher, names, pairs, self.config.kd_mode, self._teacher_states
        )  # name -> (B,)
        count = torch.tensor(sentences, device=required(student.attention_mask, OWNER).device)
        return {name: Term(each.sum(), count) for name, each in values.items()}

    def _distillation(self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None) -> Term:
        rows, share = masked_rows(target), self.config.kd_hard_share  # (M,)
        count = distillation_count(torch.tensor(len(rows), device=target.device), self.config.kd_mode)
        if share == 1.0:
            return Term(masked_output(student, target).loss, count)
        teacher = required(teacher, OWNER)
        if student.features is None or teacher.features is None:
            logits, beliefs = (
                student.vocabulary_logits(rows),
                teacher.vocabulary_logits()[rows],
            )  # (M, V) each
            return Term(distillation_term(logits, beliefs.softmax(-1), target[rows], share).sum(), count)
        features, weight = student.projection()  # (N, d), (V, d)
        # r NLL + (1 - r) cross entropy: the mixture above, without a row of V mixed probabilities.
        hard_weight = widen(features.new_full((len(rows),), share))  # (M,)
        blocks = DenseTeacherBlocks(
            TeacherProjection(teacher.features[rows], required(teacher.weight, OWNER), teacher.bias),
            target[rows],
            soft_weight=1.0 - hard_weight,
            hard_weight=hard_weight,
            cross_entropy=True,
        )
        return Term(projected_loss(features[rows], weight, student.bias, blocks), count)
