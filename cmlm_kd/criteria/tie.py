"""``tie_kd``: a teacher's whole distribution and the order of its best entries, on gold targets and on what
the student would say.

For a target token with ``hard`` as in :mod:`cmlm_kd.criteria.soft_target`, and ``divergence`` and ``ranking``
as in :mod:`cmlm_kd.losses.ranking`::

    kd   = 1/N sum over iterations n of (divergence + ranking)
    loss = (1 - alpha) hard + alpha kd                          summed over tokens

In the first iteration student and teacher read the gold tokens before each target token, and the hard term is
of that one alone. In each further iteration both read the student's best entries of the iteration before, so
that it learns what to say after its own words, for which there is no gold token. The best entries carry no
gradient; the student's encoder runs once for all iterations.

Zhang et al., 2023, "Towards Understanding and Improving Knowledge Distillation for Neural Machine
Translation" (TIE-KD); the arithmetic is that of the code released by them
(``fairseq/criterions/label_smoothed_cross_entropy_advanced_kd.py``). What of both is not here, or could not
be established: docs/criteria/tie_kd.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.checks import required, takes_fused
from cmlm_kd.criteria.soft_target import TargetTokens
from cmlm_kd.errors import UserError
from cmlm_kd.losses.dense_teacher import TeacherLogits, TeacherProjection
from cmlm_kd.losses.divergences import smoothing_weights
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.losses.ranking import RankingBlocks, RankingTerms, ranking_terms
from cmlm_kd.losses.soft_targets import SoftTargetBlocks, TokenTerms, soft_target_terms
from cmlm_kd.system.ranges import AT_LEAST_ONE, SHARE, SHARE_BELOW_ONE, between, check_settings, setting

OWNER = "tie_kd"
MOST_ITERATIONS = 100
"""Each keeps a decoder's activations until the backward pass."""


@dataclass(frozen=True)
class TieConfig:
    """Settings of :class:`TieKD`; the defaults are those of the released command for WMT14 En-De.

    Raises:
        UserError: for a value outside its range.
    """

    kd_alpha: float = field(default=0.5, metadata=setting("weight of the KD term", SHARE))
    kd_topk: int = field(
        default=5,
        metadata=setting("best entries of teacher and student whose order is compared", AT_LEAST_ONE),
    )
    kd_iterations: int = field(
        default=3,
        metadata=setting(
            "passes over a batch; 1: gold targets alone; each further one reads what the student would say",
            between(1, MOST_ITERATIONS),
        ),
    )
    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata=setting(
            "paper: the KL divergence; original: the released code's, which adds 1e-6 to probabilities "
            "before it takes their logarithms"
        ),
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

    def __post_init__(self) -> None:
        check_settings(OWNER, self)

    def signature(self) -> str:
        """Return the criterion's part of a KD signature; more settings where not the default."""
        parts = [f"kd:tie|k:{self.kd_topk}|iterations:{self.kd_iterations}|alpha:{self.kd_alpha:g}"]
        if self.kd_mode != "paper":
            parts.append(f"mode:{self.kd_mode}")
        if self.label_smoothing != type(self).label_smoothing:
            parts.append(f"ls:{self.label_smoothing}")
        return "|".join(parts)


@kd_criteria.register(OWNER, config=TieConfig)
class TieKD(KDCriterion):
    """Order and distribution of a teacher, on gold targets and on the student's own; equations in the module
    docstring.

    Reads the target ``(B, T)`` and what a teacher beside the student (``--online-teacher``) says of all
    entries, and asks both again about the student's predictions. Tokens of pairs that the teacher cannot read
    are trained on the hard term with weight 1.

    Terms: ``nll_loss`` and ``hard_loss`` per target token; ``kd_kl`` and ``ranking_loss`` per token with a
    teacher and iteration; ``agreement``, how often the student's best entry is the teacher's, per token with
    a teacher, on the gold targets.
    Counts: ``kd_tokens``, and ``without_teacher`` in sentences. The validation loss is the plain NLL.

    Relation: with alpha 0 its training loss is fairseq's ``label_smoothed_cross_entropy``.

    Smallest command: docs/criteria/tie_kd.md.
    """

    config: TieConfig
    citation = """\
@inproceedings{zhang-etal-2023-towards-understanding,
    title = {Towards Understanding and Improving Knowledge Distillation for Neural Machine Translation},
    author = {Zhang, Songming and Liang, Yunlong and Wang, Shuaibo and Han, Wenjuan and Liu, Jian and
        Xu, Jinan and Chen, Yufeng},
    booktitle = {Proceedings of ACL 2023},
    year = {2023},
    url = {https://arxiv.org/abs/2305.08096},
}
"""
    terms_in_nats = frozenset({"loss", "nll_loss", "hard_loss", "kd_kl"})
    reads_inside = True

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Return what is read of both.

        Raises:
            UserError: without a teacher beside the student (unless alpha is 0), or for more entries than the
                student has.
        """
        config = self.config
        if config.kd_alpha == 0.0:
            return Needs()
        if teacher is None:
            raise UserError(
                f"{OWNER}: reads what a teacher says of every entry, and of the predictions of "
                f"{student.name}, which no store has; name a translator with --online-teacher, or take "
                "selective_kd"
            )
        if config.kd_topk > student.vocabulary:
            raise UserError(
                f"{OWNER}: --kd-topk is {config.kd_topk}, but {student.name} chooses from "
                f"{student.vocabulary} entries; pass at most so many"
            )
        again = config.kd_iterations > 1
        return Needs(
            student=Request(other_histories=again),
            teacher=Request(whole_distribution=True, other_histories=again),
        )

    def check_untaught(self, where: str) -> None:
        """Refuse to train without a teacher, unless alpha is 0."""
        if self.config.kd_alpha > 0.0:
            raise UserError(
                f"{OWNER}: {where} has no teacher; train with --task translation_kd --online-teacher MODEL, "
                "or without a teacher by --kd-alpha 0"
            )

    def wants_features(self, obstacle: str | None) -> bool:
        """Return whether the fused implementation is to be used; see :class:`KDCriterion`."""
        return takes_fused(OWNER, self.config.kd_implementation, obstacle)

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over target tokens.

        Raises:
            UserError: if there is no teacher (unless alpha is 0).
            ValueError: if the batch lacks what :meth:`needs` asked for.
        """
        config = self.config
        batch = TargetTokens(student, target, self.padding_idx)
        if config.kd_alpha == 0.0:
            return self._without_teacher(student, batch, config.label_smoothing)
        if teacher is None:
            self.check_untaught("the training batch")
        signal = required(teacher, OWNER)
        passes = [self._pass(student, batch, signal)]
        hard, taught = passes[0].hard, passes[0].taught  # (N,)
        while len(passes) < config.kd_iterations:
            said = self._as_target(passes[-1].ranked.said, batch, target)  # (B, T)
            answers = required(student.again, OWNER)(said), required(signal.again, OWNER)(said)
            passes.append(self._pass(answers[0], batch, answers[1], taught))
        kd_tokens, heard = taught.sum(), torch.stack([each.taught for each in passes])  # (iterations, N)
        divergence, ranking = (
            (heard * torch.stack([getattr(each.ranked, name) for each in passes])).sum()
            for name in ("divergence", "ranking")
        )
        terms = {
            "nll_loss": Term(hard.nll.sum(), batch.count),
            "hard_loss": Term(hard.hard.sum(), batch.count),
            "kd_kl": Term(divergence, heard.sum()),
            "ranking_loss": Term(ranking, heard.sum()),
            "agreement": Term((passes[0].ranked.agrees & taught).sum().to(batch.dtype), kd_tokens),
        }
        nobody = torch.zeros_like(batch.gold, dtype=torch.bool)  # (B*T,)
        has_teacher = nobody.index_copy(0, batch.rows, taught).view_as(target)  # (B, T)
        without_teacher = (target.ne(self.padding_idx).any(1) & ~has_teacher.any(1)).sum()
        return CriterionOutput(
            torch.stack([each.loss for each in passes]).sum(),
            terms,
            {"kd_tokens": kd_tokens, "without_teacher": without_teacher},
        )

    def validation_loss(self, student: ModelOutput, target: Tensor) -> CriterionOutput:
        """Return the plain negative log-likelihood, summed over target tokens."""
        output = self._without_teacher(student, TargetTokens(student, target, self.padding_idx), 0.0)
        return CriterionOutput(output.loss, {"nll_loss": output.terms["nll_loss"]})

    def _pass(
        self,
        student: ModelOutput,
        batch: TargetTokens,
        teacher: TeacherSignal,
        taught_first: Tensor | None = None,
    ) -> _Pass:
        """Return one iteration's part of the loss.

        Args:
            student: its output.
            batch: the target tokens.
            teacher: what it says.
            taught_first: ``(N,)`` bool, tokens that had a teacher in the first iteration; None in that one,
                which alone has a hard term.
        """
        config, output = self.config, teacher.only_output
        places = torch.searchsorted(batch.rows, required(output.positions, OWNER))  # (M,)
        taught = torch.zeros_like(batch.rows, dtype=torch.bool)  # (N,)
        taught[places] = True
        if taught_first is not None:  # the others have given all their weight to the hard term
            taught = taught & taught_first
        share = taught.to(batch.dtype)  # (N,)
        soft_weight = config.kd_alpha / config.kd_iterations * share  # (N,)
        # A token without a teacher has no KD term to share its weight with.
        first = taught_first is None
        hard_weight = 1.0 - config.kd_alpha * share if first else torch.zeros_like(share)  # (N,)
        epsilon = config.label_smoothing if first else 0.0
        gold = batch.gold[batch.rows]  # (N,)
        if student.logits is not None:
            logits = student.logits.flatten(0, 1)[batch.rows]  # (N, V)
            hard = soft_target_terms(logits, gold, None, epsilon=epsilon, mode="fairseq")
            whole = _spread(output.vocabulary_logits(), places, len(gold))  # (N, V)
            ranked = ranking_terms(logits, whole, config.kd_topk, config.kd_mode, self.padding_idx)
            loss = (hard_weight * hard.hard + soft_weight * (ranked.divergence + ranked.ranking)).sum()
            return _Pass(loss, hard.detach(), ranked.detach(), taught)
        features, output_weight = student.projection()
        blocks = RankingBlocks(
            gold,
            _by_chunk(output, places, len(gold)),
            hard_weight,
            soft_weight,
            k=config.kd_topk,
            mode=config.kd_mode,
            padding_idx=self.padding_idx,
            smoothing=smoothing_weights(epsilon, output_weight.size(0), "fairseq"),
            vocabulary=output_weight.size(0),
        )
        loss = projected_loss(features.flatten(0, 1)[batch.rows], output_weight, student.bias, blocks)
        return _Pass(loss, TokenTerms(blocks.nll, blocks.hard, blocks.soft), blocks.terms, taught)

    def _without_teacher(self, student: ModelOutput, batch: TargetTokens, epsilon: float) -> CriterionOutput:
        """Return the label-smoothed loss of hard labels."""
        gold = batch.gold[batch.rows]  # (N,)
        if student.logits is not None:
            logits = student.logits.flatten(0, 1)[batch.rows]  # (N, V)
            terms = soft_target_terms(logits, gold, None, epsilon=epsilon, mode="fairseq")
            loss = terms.hard.sum()
        else:
            features, weight = student.projection()
            smoothing = smoothing_weights(epsilon, weight.size(0), "fairseq")
            ones = torch.ones_like(gold, dtype=batch.dtype)  # (N,)
            blocks = SoftTargetBlocks(gold, None, ones, smoothing, weight.size(0))
            loss = projected_loss(features.flatten(0, 1)[batch.rows], weight, student.bias, blocks)
            terms = TokenTerms(blocks.nll, blocks.hard, blocks.soft)
        logged = {"nll_loss": terms.nll, "hard_loss": terms.hard}
        return CriterionOutput(
            loss, {name: Term(values.detach().sum(), batch.count) for name, values in logged.items()}
        )

    def _as_target(self, said: Tensor, batch: TargetTokens, target: Tensor) -> Tensor:
        """Return the best entries ``(N,)`` in the places of a target ``(B, T)``, each row with its end."""
        entries = target.flatten().index_copy(0, batch.rows, said).view_as(target)  # (B, T)
        real = target.ne(self.padding_idx)  # (B, T)
        last = real & ~F.pad(real[:, 1:], (0, 1))  # (B, T)
        return torch.where(last, target, entries)


@dataclass(frozen=True)
class _Pass:
    """One iteration: its part of the loss, and the detached terms of the ``N`` target tokens."""

    loss: Tensor
    hard: TokenTerms
    ranked: RankingTerms
    taught: Tensor


def _spread(given: Tensor, places: Tensor, tokens: int) -> Tensor:
    """Return the rows ``(M, d)`` in their places among all tokens, ``(N, d)``, zeros in the others."""
    if len(given) == tokens:
        return given
    return given.new_zeros(tokens, given.size(1)).index_copy(0, places, given)  # (N, d)


def _by_chunk(teacher: ModelOutput, places: Tensor, tokens: int) -> TeacherProjection | TeacherLogits:
    """Return the teacher of all N tokens, for a loss that looks at some of them at a time."""
    if teacher.logits is not None:
        return TeacherLogits(_spread(teacher.logits, places, tokens))
    features, weight = teacher.projection()
    return TeacherProjection(_spread(features, places, tokens), weight, teacher.bias)
