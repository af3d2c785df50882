"""``soft_target_kd``: a teacher's distribution at every target token as the target of a translator.

For a target token with gold entry y, the student's log-probabilities log p over the vocabulary, a teacher's
logits t of its k best entries and a temperature T > 0 (Chen et al., 2020, "Distilling Knowledge Learned in
BERT for Text Generation", eq. 5)::

    q      = softmax(t / T)                         over the k entries
    kd     = - sum_j q[j] log p[ids[j]]            j = 1 .. k
    hard   = label-smoothed negative log-likelihood of y
    loss   = (1 - alpha) hard + alpha kd            summed over tokens

The temperature is applied to the teacher alone and there is no factor T^2, as in the paper (footnote 8) and
its code (``onmt/utils/loss.py``). ``kd_convention="hinton"`` is the usual other way: T on both sides, and
T^2.

The terms per token are in :mod:`cmlm_kd.losses.soft_targets`, in a plain form and in one that never holds the
(tokens, vocabulary) matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import takes_fused
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import smoothing_weights
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.losses.soft_targets import SoftTargetBlocks, TeacherDistribution, TokenTerms, soft_target_terms
from cmlm_kd.losses.sparse_teacher import tail_index, teacher_distribution
from cmlm_kd.system.ranges import AT_LEAST_ONE, POSITIVE, SHARE, SHARE_BELOW_ONE, check_settings, setting


@dataclass(frozen=True)
class SoftTargetConfig:
    """Settings of :class:`SoftTargetKD`; the defaults are the paper's for IWSLT14 De-En.

    Raises:
        UserError: for a value outside its range.
    """

    criterion: ClassVar[str] = "soft_target_kd"
    kd_alpha: float = field(default=0.5, metadata=setting("weight of the KD term", SHARE))
    kd_temperature: float = field(
        default=10.0, metadata=setting("temperature of the teacher's logits; see --kd-convention", POSITIVE)
    )
    kd_topk: int = field(
        default=8,
        metadata=setting(
            "teacher entries per token to use; at most the store's k, whose further entries are cut",
            AT_LEAST_ONE,
        ),
    )
    kd_convention: Literal["teacher", "hinton"] = field(
        default="teacher",
        metadata=setting(
            "teacher: temperature on the teacher only (the paper); hinton: on both sides, times T^2"
        ),
    )
    kd_tail: Literal["drop", "bucket"] = field(
        default="drop",
        metadata=setting(
            "mass outside the top k; drop: renormalise over k (the paper); bucket: a (k+1)th class"
        ),
    )
    kd_report_kl: bool = field(
        default=False, metadata=setting("also log the forward KL divergence from teacher to student (kd_kl)")
    )
    kd_implementation: Literal["auto", "fused", "dense"] = field(
        default="auto",
        metadata=setting(
            "fused never holds the (tokens, vocabulary) matrix; auto: fused where the decoder allows"
        ),
    )
    label_smoothing: float = field(
        default=0.1, metadata=setting("epsilon of the hard term; 0 means no smoothing", SHARE_BELOW_ONE)
    )
    label_smoothing_mode: Literal["fairseq", "original"] = field(
        default="fairseq",
        metadata=setting(
            "fairseq: as label_smoothed_cross_entropy; original: as the released C-MLM code, over V-2"
        ),
    )

    def __post_init__(self) -> None:
        check_settings(self.criterion, self)

    def signature(self) -> str:
        """Return the criterion's part of a KD signature; more settings where not the default."""
        return self._signature("kd:soft_target")

    def _signature(self, kind: str) -> str:
        named = {
            "conv": "kd_convention",
            "tail": "kd_tail",
            "ls": "label_smoothing",
            "ls_mode": "label_smoothing_mode",
        }
        parts = [f"{kind}|k:{self.kd_topk}|T:{self.kd_temperature:g}|alpha:{self.kd_alpha:g}"]
        for short, name in named.items():
            if getattr(self, name) != getattr(type(self), name):
                parts.append(f"{short}:{getattr(self, name)}")
        return "|".join(parts)


@kd_criteria.register("soft_target_kd", config=SoftTargetConfig)
class SoftTargetKD(KDCriterion):
    """Soft targets of a teacher beside label-smoothed hard labels, for translation; equation in the module
    docstring.

    Reads the target ``(B, T)`` and the teacher's :class:`cmlm_kd.api.signals.SoftTargets`. Tokens whose
    ``valid`` is False have no teacher: they are trained on the hard term with weight 1.

    Terms: ``nll_loss`` and ``hard_loss`` per target token, ``kd_loss`` (and ``kd_kl``) per token with a
    teacher.
    Counts: ``kd_tokens``, and ``without_teacher`` in sentences. The validation loss is the plain NLL, so that
    students with and without a teacher choose their checkpoints by the same quantity.

    Relation: with alpha 0 its training loss is fairseq's ``label_smoothed_cross_entropy``.
    """

    config: SoftTargetConfig
    citation = """\
@inproceedings{chen-etal-2020-distilling,
    title = {Distilling Knowledge Learned in {BERT} for Text Generation},
    author = {Chen, Yen-Chun and Gan, Zhe and Cheng, Yu and Liu, Jingzhou and Liu, Jingjing},
    booktitle = {Proceedings of ACL 2020},
    pages = {7893--7905},
    year = {2020},
    url = {https://aclanthology.org/2020.acl-main.705},
}
"""
    terms_in_nats = frozenset({"loss", "nll_loss", "hard_loss", "kd_loss", "kd_kl"})
    _accepted: tuple[int, tuple[float, ...]] | None = None

    def wants_features(self, obstacle: str | None) -> bool:
        """Return whether the fused implementation is to be used; see :class:`KDCriterion`."""
        return takes_fused(self.config.criterion, self.config.kd_implementation, obstacle)

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return that soft targets are read, unless alpha is 0."""
        if self.config.kd_alpha == 0.0:
            return Needs()
        return Needs(teacher=Request(topk=self.config.kd_topk), teacher_values="soft targets")

    def check_untaught(self, where: str) -> None:
        """Refuse to train without a teacher, unless alpha is 0."""
        if self.config.kd_alpha > 0.0:
            raise UserError(
                f"{self.config.criterion}: {where} has no teacher; train with --task translation_kd "
                "--soft-targets STORE (or --online-teacher MODEL), or without a teacher by --kd-alpha 0"
            )

    def check_teacher(self, k: int, tail_temperatures: Sequence[float]) -> None:
        """Refuse a store with fewer than ``kd_topk`` entries, or without the tail that ``kd_tail`` needs."""
        config = self.config
        if config.kd_topk > k:
            raise UserError(
                f"{config.criterion}: --kd-topk is {config.kd_topk}, but the teacher gives k = {k} entries "
                f"per token; pass --kd-topk {k} or less, or, of a store, run 'cmlm-kd dump' with a larger k"
            )
        if config.kd_tail == "bucket" and tail_index(config.kd_temperature, tail_temperatures) is None:
            available = ", ".join(f"{value:g}" for value in tail_temperatures) or "none"
            raise UserError(
                f"{config.criterion}: --kd-tail bucket needs the teacher's tail at --kd-temperature "
                f"{config.kd_temperature:g}; the store has it at: {available}; "
                "use one of these temperatures, or run 'cmlm-kd dump' again with this one"
            )

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over target tokens.

        Raises:
            UserError: if there is no teacher or it cannot serve, see :meth:`check_untaught` and
                :meth:`check_teacher`.
        """
        config = self.config
        soft_targets = None if teacher is None else teacher.soft_targets
        if soft_targets is None and config.kd_alpha > 0.0:
            self.check_untaught("the training batch")
        batch = TargetTokens(student, target, self.padding_idx)
        valid = torch.zeros_like(target, dtype=torch.bool)  # (B, T)
        distribution = None
        if soft_targets is not None:
            form = (soft_targets.ids.size(-1), soft_targets.tail_temperatures)
            if form != self._accepted:  # every batch of a source has the form of its first one
                self.check_teacher(*form)
                self._accepted = form
            valid = soft_targets.valid & target.ne(self.padding_idx)  # (B, T)
            bucket = config.kd_tail == "bucket"
            if bucket and config.kd_topk >= student.vocabulary:
                raise UserError(
                    f"{config.criterion}: --kd-tail bucket with --kd-topk {config.kd_topk} leaves nothing "
                    f"outside a vocabulary of {student.vocabulary}; pass a smaller k or --kd-tail drop"
                )
            distribution = teacher_distribution(
                soft_targets.flatten(),
                config.kd_topk,
                config.kd_temperature,
                bucket=bucket,
                dtype=batch.dtype,
            )
        taught = valid.flatten()[batch.rows]  # (N,)
        loss, terms, listening = self._loss(student, batch, distribution, taught, config.label_smoothing)
        kd_tokens = listening.sum()
        named = {
            "nll_loss": Term(terms.nll.sum(), batch.count),
            "hard_loss": Term(terms.hard.sum(), batch.count),
            "kd_loss": Term((terms.soft * listening).sum(), kd_tokens),
            **self._further_terms(taught, listening),
        }
        if config.kd_report_kl and distribution is not None:
            # KL is the cross entropy less the teacher's entropy, which has no T^2.
            scale = self._student_temperature() ** 2
            divergence = terms.soft / scale - distribution[batch.rows].entropy()  # (N,)
            named["kd_kl"] = Term((divergence * listening).sum(), kd_tokens)
        without_teacher = (target.ne(self.padding_idx).any(1) & ~valid.any(1)).sum()
        return CriterionOutput(loss, named, {"kd_tokens": kd_tokens, "without_teacher": without_teacher})

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the plain negative log-likelihood, summed over target tokens."""
        batch = TargetTokens(student, target, self.padding_idx)
        untaught = torch.zeros_like(batch.rows, dtype=torch.bool)  # (N,)
        loss, terms, _ = self._loss(student, batch, None, untaught, epsilon=0.0)
        return CriterionOutput(loss, {"nll_loss": Term(terms.nll.sum(), batch.count)})

    def _student_temperature(self) -> float:
        return self.config.kd_temperature if self.config.kd_convention == "hinton" else 1.0

    def _further_terms(self, taught: Tensor, listening: Tensor) -> dict[str, Term]:
        """Return what else is logged of the ``N`` tokens: which have a teacher, and which listen to it."""
        return {}

    def _loss(
        self,
        student: ModelOutput,
        batch: TargetTokens,
        teacher: TeacherDistribution | None,
        taught: Tensor,
        epsilon: float,
    ) -> tuple[Tensor, TokenTerms, Tensor]:
        """Return the summed loss, and the detached terms of the ``N`` tokens that count and which listen.

        Args:
            student: its output.
            batch: the target tokens.
            teacher: the distribution of all ``B*T`` tokens, or None.
            taught: ``(N,)`` bool, tokens that have a teacher.
            epsilon: label smoothing.
        """
        # A token without a teacher has no KD term to share its weight with.
        soft_weight = self.config.kd_alpha * taught.to(batch.dtype)  # (N,)
        hard_weight = 1.0 - soft_weight  # (N,)
        if student.logits is not None:
            terms = self._dense_terms(student.logits, batch, teacher, epsilon)
            loss = (hard_weight * terms.hard + soft_weight * terms.soft).sum()
            return loss, terms.detach(), taught
        features, output_weight = student.projection()
        vocabulary = output_weight.size(0)
        blocks = SoftTargetBlocks(
            batch.gold[batch.rows],
            None if teacher is None else teacher[batch.rows],
            hard_weight,
            smoothing_weights(epsilon, vocabulary, self.config.label_smoothing_mode),
            vocabulary,
            self._student_temperature(),
        )
        loss = projected_loss(features.flatten(0, 1)[batch.rows], output_weight, student.bias, blocks)
        return loss, TokenTerms(blocks.nll, blocks.hard, blocks.soft), taught

    def _dense_terms(
        self, logits: Tensor, batch: TargetTokens, teacher: TeacherDistribution | None, epsilon: float
    ) -> TokenTerms:
        """Return the terms of the ``N`` tokens that count, from logits ``(B, T, V)``."""
        return soft_target_terms(
            logits.flatten(0, 1),  # (B*T, V)
            batch.gold,
            teacher,
            epsilon=epsilon,
            mode=self.config.label_smoothing_mode,
            temperature=self._student_temperature(),
        ).select(batch.rows)


class TargetTokens:
    """The target tokens of a batch, and which of them count.

    Attributes:
        gold: ``(B*T,)``, padding included.
        rows: ``(N,)``, positions in ``gold`` of the tokens that are not padding.
        count: N, as a tensor.
        dtype: of losses: float32, or float64 for a student in float64.
    """

    def __init__(self, student: ModelOutput, target: Tensor, padding_idx: int) -> None:
        self.gold = target.flatten()
        self.rows = self.gold.ne(padding_idx).nonzero().squeeze(1)
        self.count = self.gold.new_tensor(self.rows.numel())
        self.dtype = torch.promote_types(student.dtype, torch.float32)
