"""``mobilebert_kd``: MobileBERT's knowledge transfer and distillation (Sun et al., 2020, section 3.4, 3.5).

For the layers of a map, M of them, and a sentence; the terms stand in
:mod:`cmlm_kd.criteria.mobilebert_terms`, with what ``paper`` and ``original`` change::

    transfer     = 1/M sum over layers (w_f feature map + w_a attention + w_m mean + w_v variance)
    distillation = CE(r onehot(y) + (1 - r) softmax(z_teacher), softmax(z_student)) at hidden pieces

Which of the two, and of which layers, is a matter of the strategy and the time
(:mod:`cmlm_kd.criteria.mobilebert_schedule`). Next-sentence prediction, which paper and code add to the
distillation, is left out: lines of running text are no pairs of sentences, and BERTs are no worse without it
(Liu et al., 2019, "RoBERTa", table 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cmlm_kd.criteria.checks import present
from cmlm_kd.criteria.dense_teacher_fused import DenseTeacherBlocks, TeacherProjection
from cmlm_kd.criteria.mobilebert_schedule import Schedule, Stage
from cmlm_kd.criteria.mobilebert_settings import MobileBertConfig
from cmlm_kd.criteria.mobilebert_terms import distillation_count, distillation_term
from cmlm_kd.criteria.mobilebert_transfer import OWNER, refuse_misfits, transfer_terms
from cmlm_kd.criterion import CriterionOutput, KDCriterion, StudentOutput, Term
from cmlm_kd.errors import UserError
from cmlm_kd.layers import LayerMap, layer_map
from cmlm_kd.losses import widen
from cmlm_kd.masked_lm_loss import hidden_rows, masked_output
from cmlm_kd.needs import ModelDescription, Needs, Request
from cmlm_kd.projection import projected_loss
from cmlm_kd.registry import kd_criteria
from cmlm_kd.signals import TeacherSignal


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
        self, student: StudentOutput, target: Tensor, teacher: TeacherSignal | None
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

    def validation_loss(self, student: StudentOutput, target: Tensor) -> CriterionOutput:
        """Return the loss of the hidden pieces."""
        return masked_output(student, target)

    def _transfer(self, student: StudentOutput, teacher: TeacherSignal, sentences: int) -> dict[str, Term]:
        """Return the terms that have a weight, of the layers whose turn it is."""
        names = [name for name, weight in self.config.weights.items() if weight]
        layers = list(self.layers)
        pairs = [layers[i] for i in self._stage.transfers]
        values = transfer_terms(
            student, teacher, names, pairs, self.config.kd_mode, self._teacher_states
        )  # name -> (B,)
        count = torch.tensor(sentences, device=present(student.attention_mask, OWNER).device)
        return {name: Term(each.sum(), count) for name, each in values.items()}

    def _distillation(self, student: StudentOutput, target: Tensor, teacher: TeacherSignal | None) -> Term:
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
