"""``selective_kd``: soft targets for the target tokens at which the student is unsure, hard labels for all.

For a target token with gold entry y, with ``hard`` and ``kd`` as in :mod:`cmlm_kd.criteria.soft_target`, and
the student's own ``nll = - log p[y]``, which comes out of the same pass::

    listens = nll >= gate
    loss    = (1 - alpha) hard + alpha kd     where it listens, hard elsewhere      ``mixed``
    loss    = hard + alpha kd                 where it listens, hard elsewhere      ``added``

==========  =============================================================================  ===========
selection   gate                                                                           idea
==========  =============================================================================  ===========
confidence  - log(threshold): the gold entry has a probability of at most that             CBBGCA
batch       the lowest NLL of the share of this batch's tokens that has the highest        Wang et al.
global      the same, over a queue of the last batches' tokens, this batch's among them    Wang et al.
==========  =============================================================================  ===========

Wang et al., 2021, "Selective Knowledge Distillation for Neural Machine Translation"; Zhou et al., 2022,
"Confidence Based Bidirectional Global Context Aware Training Framework for Neural Machine Translation"
(CBBGCA). ``added``, alpha 1 and the queue ``original`` are the arithmetic of the code released by the former
(``fairseq/criterions/label_smoothed_cross_entropy.py``). What of both papers is not here:
docs/criteria/selective_kd.md.

NaN likelihoods never listen. The gate has no gradient. The queue is of one process and one run: it is
not in checkpoints, and fills anew within a few batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD, TargetTokens
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import smoothing_weights
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.losses.selection import (
    BatchGate,
    ConfidenceGate,
    Gate,
    QueueGate,
    SelectiveBlocks,
    term_weights,
)
from cmlm_kd.losses.soft_targets import TeacherDistribution, TokenTerms
from cmlm_kd.system.ranges import SHARE_ABOVE_ZERO, between, setting

LONGEST_QUEUE = 10_000_000
"""Values; a queue is sorted in part at every step."""


@dataclass(frozen=True)
class SelectiveConfig(SoftTargetConfig):
    """Settings of :class:`SelectiveKD`: those of ``soft_target_kd`` and these.

    Raises:
        UserError: for a value outside its range.
    """

    criterion: ClassVar[str] = "selective_kd"
    kd_selection: Literal["confidence", "batch", "global"] = field(
        default="global",
        metadata=setting(
            "which tokens listen to the teacher; confidence: the gold entry's probability is at most "
            "--kd-threshold; batch, global: the --kd-share with the highest cross entropy, of the batch or "
            "of the last --kd-queue tokens"
        ),
    )
    kd_share: float = field(
        default=0.5, metadata=setting("share of the tokens that listen (batch, global)", SHARE_ABOVE_ZERO)
    )
    kd_threshold: float = field(
        default=0.5,
        metadata=setting("highest probability of a gold entry that listens (confidence)", SHARE_ABOVE_ZERO),
    )
    kd_queue: int = field(
        default=30_000, metadata=setting("tokens in the queue (global)", between(1, LONGEST_QUEUE))
    )
    kd_queue_mode: Literal["fifo", "original"] = field(
        default="fifo",
        metadata=setting(
            "fifo: the last --kd-queue tokens; original: the released code, which holds up to a batch fewer"
        ),
    )
    kd_combination: Literal["mixed", "added"] = field(
        default="mixed",
        metadata=setting(
            "mixed: (1 - alpha) hard + alpha kd, as soft_target_kd; added: hard + alpha kd, the released "
            "code with --kd-alpha 1"
        ),
    )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature; more settings where not the default."""
        given = {
            "confidence": f"threshold:{self.kd_threshold:g}",
            "batch": f"share:{self.kd_share:g}",
            "global": f"share:{self.kd_share:g}|queue:{self.kd_queue}",
        }
        parts = [f"kd:selective|on:{self.kd_selection}|{given[self.kd_selection]}"]
        if self.kd_selection == "global" and self.kd_queue_mode != "fifo":
            parts.append(f"queue_mode:{self.kd_queue_mode}")
        if self.kd_combination != "mixed":
            parts.append(self.kd_combination)
        return self._signature("|".join(parts))

    def gate(self) -> Gate:
        """Return the rule of selection, with nothing seen."""
        if self.kd_selection == "confidence":
            return ConfidenceGate(self.kd_threshold)
        if self.kd_selection == "batch":
            return BatchGate(self.kd_share)
        return QueueGate(self.kd_share, self.kd_queue, self.kd_queue_mode)


@kd_criteria.register("selective_kd", config=SelectiveConfig)
class SelectiveKD(SoftTargetKD):
    """Soft targets where the student is unsure; equations in the module docstring.

    Reads what ``soft_target_kd`` reads. Tokens without a teacher are no candidates: they count in no share
    and no queue.

    Terms: those of ``soft_target_kd``, ``kd_loss`` per token that listens; ``kd_share``, listening tokens per
    token with a teacher; ``kd_gate``, the gate per batch, in nats as ``kd_threshold`` is a probability:
    ``exp(-kd_gate)``.
    Counts: ``kd_tokens`` that listen, and ``without_teacher`` in sentences.

    Relation: with ``--kd-share 1`` (or ``--kd-selection confidence --kd-threshold 1``) it is
    ``soft_target_kd``.

    Smallest command: docs/criteria/selective_kd.md.
    """

    config: SelectiveConfig
    citation = """\
@inproceedings{wang-etal-2021-selective,
    title = {Selective Knowledge Distillation for Neural Machine Translation},
    author = {Wang, Fusheng and Yan, Jianhao and Meng, Fandong and Zhou, Jie},
    booktitle = {Proceedings of ACL-IJCNLP 2021},
    year = {2021},
    url = {https://arxiv.org/abs/2105.12967},
}
@inproceedings{zhou-etal-2022-confidence,
    title = {Confidence Based Bidirectional Global Context Aware Training Framework for Neural Machine
        Translation},
    author = {Zhou, Chulun and Meng, Fandong and Zhou, Jie and Zhang, Min and Wang, Hongji and Su, Jinsong},
    booktitle = {Proceedings of ACL 2022},
    year = {2022},
    url = {https://arxiv.org/abs/2202.13663},
}
"""

    def __init__(self, config: Any, padding_idx: int = -1) -> None:
        super().__init__(config, padding_idx)
        self._gate: Gate = config.gate()
        self._proven = config.kd_selection != "confidence"  # a share of tokens is never none of them
        self._first: int | None = 0  # the update whose batch must have a token that listens
        self._earlier = ""

    def resume(self, earlier: Mapping[str, Any]) -> None:
        """Look at the first batch of a training that goes on where fewer tokens listen than before."""
        selection = str(earlier.get("kd_selection", self.config.kd_selection))
        threshold = earlier.get("kd_threshold")
        if selection != "confidence":
            self._first, self._earlier = None, f" (--kd-selection {selection} before)"
        elif isinstance(threshold, float) and threshold > self.config.kd_threshold:
            self._first, self._earlier = None, f" ({threshold:g} before)"

    def begin_update(self, update: int) -> None:
        """Take note of how many updates there were: after the first, a student may be sure of a batch."""
        self._first = update if self._first is None else self._first
        self._proven = self._proven or update > self._first

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over target tokens.

        Raises:
            UserError: as ``soft_target_kd``; no token of the first batch, or of the first one with a lower
                ``--kd-threshold`` than before, is under it.
        """
        output = super().training_loss(student, target, teacher)
        share = output.terms["kd_share"]
        if not self._proven and share.count.item() > 0:
            if not share.total.item():
                raise UserError(
                    f"selective_kd: --kd-threshold {self.config.kd_threshold:g}{self._earlier}: none of the "
                    f"{share.count.item():,} tokens of the first batch has a gold entry of at most that "
                    f"probability (the least has {self._least:.3g}), so that nothing would be learned from "
                    "the teacher; raise it, or take --kd-selection batch"
                )
            self._proven = True
        return output

    def _further_terms(self, taught: Tensor, listening: Tensor) -> dict[str, Term]:
        gate = torch.as_tensor(self._gate.expected, device=taught.device)
        known = torch.isfinite(gate)  # not before the first batch with a teacher
        return {
            "kd_share": Term(listening.sum().float(), taught.sum()),
            "kd_gate": Term(torch.where(known, gate, torch.zeros_like(gate)), known.long()),
        }

    def _loss(
        self,
        student: ModelOutput,
        batch: TargetTokens,
        teacher: TeacherDistribution | None,
        taught: Tensor,
        epsilon: float,
    ) -> tuple[Tensor, TokenTerms, Tensor]:
        """Return loss, terms and who listens; see :meth:`SoftTargetKD._loss`."""
        if teacher is None:
            return super()._loss(student, batch, teacher, taught, epsilon)
        added, alpha = self.config.kd_combination == "added", self.config.kd_alpha
        if student.logits is not None:
            terms = self._dense_terms(student.logits, batch, teacher, epsilon)
            nll = terms.nll.detach()  # (N,)
            listening = taught & (nll >= self._gate.of(nll[taught]))  # (N,)
            hard_weight, soft_weight = term_weights(listening, alpha, added, batch.dtype)
            loss = (hard_weight * terms.hard + soft_weight * terms.soft).sum()
        else:
            features, output_weight = student.projection()
            vocabulary = output_weight.size(0)
            blocks = SelectiveBlocks(
                batch.gold[batch.rows],
                teacher[batch.rows],
                taught,
                self._gate,
                alpha=alpha,
                added=added,
                smoothing=smoothing_weights(epsilon, vocabulary, self.config.label_smoothing_mode),
                vocabulary=vocabulary,
                temperature=self._student_temperature(),
            )
            loss = projected_loss(features.flatten(0, 1)[batch.rows], output_weight, student.bias, blocks)
            terms, listening = TokenTerms(blocks.nll, blocks.hard, blocks.soft), blocks.listening
        if not self._proven and taught.any():
            self._least = terms.nll.detach()[taught].max().neg().exp().item()
        return loss, terms.detach(), listening
