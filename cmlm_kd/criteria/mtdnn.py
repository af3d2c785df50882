"""``mtdnn_kd``: soft labels of an ensemble for one task or many (Liu et al., 2019, "Improving Multi-Task Deep
Neural Networks via Knowledge Distillation for Natural Language Understanding", section 3).

For student logits s, the class y and an ensemble of K teachers with logits t_1 .. t_K::

    q    = 1/K sum_k softmax(t_k)       p = softmax(s)
    hard = - log p[y]
    kd   = - sum_c q[c] log p[c]        paper
    kd   = KL(q | p)                    original (``mt_dnn/model.py`` of v0.1)
    loss = (hard + kd) / 2              paper
    loss = hard + kd                    original
    loss = hard                         a task without a teacher

all summed over sentences. For scores, of which the paper has none with a teacher, hard and kd are the squared
errors of the label and of the teachers' mean score, as in the released code's later ``MseCriterion``.

``--kd-divergence`` puts another divergence in the place of kd, one of those that ``kd_loss`` of a task
chooses from in the released code's master branch (``mt_dnn/loss.py``). q is never differentiated::

    kl         KL(q | p)
    sym_kl     KL(q | p) + KL(p | q)
    ns_kl      2 sum_c p[c] (u(p)[c] - u(q)[c]),   u(x) = - log(1 / (x + e) - 1 + e),   e = 1e-6
    ns_sym_kl  ns_kl + 2 sum_c q[c] (u(q)[c] - u(p)[c])
    js         KL(m | p) + KL(m | q),   m = (p + q) / 2
    hl         1/C sum_c (sqrt(p[c]) - sqrt(q[c]))^2

The released code keeps parts of them from being differentiated, written [x] here: KL([p] | q) of sym_kl,
[u(p)] of ns_kl, all of ns_sym_kl's second half, [m] of js, and all of hl. So sym_kl has the gradient of kl,
ns_sym_kl that of ns_kl, js half of kl's, and hl none at all. ns_kl is no divergence in the strict sense, but
log-odds weighted by p. Values and gradients are the released code's, which computes in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term, hard_label_loss
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Needs
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.bilstm import logits_mse
from cmlm_kd.criteria.checks import Reading
from cmlm_kd.losses.divergences import kl_of_log_probs, soft_cross_entropy, widen
from cmlm_kd.system.ranges import setting

Divergence = Literal["kl", "sym_kl", "ns_kl", "ns_sym_kl", "js", "hl"]
EPSILON = 1e-6
"""Of ``stable_kl``: keeps log-odds of 0 and 1 finite."""


@dataclass(frozen=True)
class MTDNNKDConfig:
    """Settings of :class:`MTDNNKD`; the default is the paper's, since no command of the released code gets
    to its soft labels."""

    kd_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata=setting(
            "paper: mean of the two cross entropies, of hard and of soft labels; original: hard "
            "labels plus divergence, as the released code (twice the paper's gradient)"
        ),
    )
    kd_divergence: Divergence = field(
        default="kl",
        metadata=setting(
            "of classes, how far the student is from the teacher: kl, the method's; the others are "
            "those of the released code's later versions (hl has no gradient, as there)"
        ),
    )

    def signature(self) -> str:
        """Return the criterion's part of a KD signature."""
        other = "" if self.kd_divergence == "kl" else f"|divergence:{self.kd_divergence}"
        return f"kd:mtdnn|mode:{self.kd_mode}{other}"


def kl(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(q | p), ``(B,)``; ``KlCriterion``."""
    # Only the student's part has a gradient, p - q.
    return kl_of_log_probs(log_q, _log_probs(logits))


def symmetric_kl(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(q | p) + KL(p | q), ``(B,)``; ``SymKlCriterion``, whose second part has no gradient."""
    # [p] as released: what it adds to the value has no gradient.
    return kl(logits, log_q) + kl_of_log_probs(_log_probs(logits).detach(), log_q)


def noise_stable_kl(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return the difference of log-odds under p, twice, ``(B,)``; ``NsKlCriterion`` (``stable_kl``)."""
    student = _log_probs(logits).exp()  # (B, C)
    # p [u(p)]: the gradient goes through the weights alone.
    return _stable(student, student.detach(), log_q.exp())


def noise_stable_symmetric_kl(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return :func:`noise_stable_kl` in both directions, ``(B,)``; ``NsSymKlCriterion``, whose second part
    has no gradient."""
    fixed, probs = _log_probs(logits).detach().exp(), log_q.exp()  # (B, C)
    return noise_stable_kl(logits, log_q) + _stable(probs, probs, fixed)


def jensen_shannon(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(m | p) + KL(m | q) with a fixed mean m, ``(B,)``; ``JSCriterion``: the directions are the
    reverse of Jensen and Shannon's, and there is no half."""
    student = _log_probs(logits)  # (B, C)
    middle = torch.logaddexp(student.detach(), log_q) - math.log(2)  # (B, C)
    return kl_of_log_probs(middle, student) + kl_of_log_probs(middle, log_q)


def hellinger(logits: Tensor, log_q: Tensor) -> Tensor:
    """Return the squared difference of roots, its mean over classes, ``(B,)``, without gradient;
    ``HLCriterion``."""
    fixed = _log_probs(logits).detach()  # (B, C)
    return ((fixed / 2).exp() - (log_q / 2).exp()).square().mean(-1)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "sym_kl": symmetric_kl,
    "ns_kl": noise_stable_kl,
    "ns_sym_kl": noise_stable_symmetric_kl,
    "js": jensen_shannon,
    "hl": hellinger,
}
"""Name -> function of the student's logits and the teacher's log-probabilities, ``(B, C)`` each. Logarithms,
because a teacher may be surer than a float32 probability can say, and sym_kl and js read how sure it is."""


def _log_probs(logits: Tensor) -> Tensor:
    return widen(logits).log_softmax(-1)


def _stable(weights: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return twice the difference of two log-odds under ``weights``, ``(B,)``."""
    return 2 * (weights * (_log_odds(first) - _log_odds(second))).sum(-1)


def _log_odds(probs: Tensor) -> Tensor:
    # log(x / (1 - x)), with x moved off 0 and 1.
    return -(1 / (probs + EPSILON) - 1 + EPSILON).log()


def soft_label_loss(logits: Tensor, log_q: Tensor, mode: Reading, divergence: Divergence = "kl") -> Tensor:
    """Return the soft term of each sentence in nats, ``(B,)``; of ``kl`` both modes have the same gradient.

    Args:
        logits: ``(B, C)`` of the student.
        log_q: ``(B, C)``, log-probabilities of the ensemble.
        mode: with ``kl``, ``paper`` for the cross entropy, ``original`` for the divergence.
        divergence: see the module docstring.
    """
    if mode == "paper" and divergence == "kl":
        return soft_cross_entropy(logits, log_q.exp())
    return DIVERGENCES[divergence](logits, log_q)


def weight_of_terms(mode: Reading) -> float:
    """Return the weight of hard and of soft labels: 1/2 each, or 1 each as released."""
    return 0.5 if mode == "paper" else 1.0


@kd_criteria.register("mtdnn_kd", config=MTDNNKDConfig)
class MTDNNKD(SentenceCriterion):
    """Hard labels and an ensemble's soft labels, with equal weights; equations in the module docstring.

    Reads ``sample["target"]`` ``(B,)`` and of ``sample["teacher"]`` probabilities ``(B, C)``, or scores
    ``(B, 1)``. A batch without a teacher, as ``--task multitask_kd`` has them, trains on hard labels alone.

    Terms: ``hard_loss`` and ``kd_loss`` per sentence.

    Relation: ``pkd`` with beta 0 has a temperature and free weights.

    Smallest command::

        fairseq-train glue --user-dir fairseq_plugins --task multitask_kd --corpora SST-2,RTE \\
            --teacher SST-2=A:B,RTE=C:D --arch multitask_bert --bert DIR --criterion mtdnn_kd \\
            --optimizer bert_adamw --batch-size 32
    """

    config: MTDNNKDConfig
    citation = """\
@article{liu-etal-2019-improving,
    title = {Improving Multi-Task Deep Neural Networks via Knowledge Distillation for Natural Language
        Understanding},
    author = {Liu, Xiaodong and He, Pengcheng and Chen, Weizhu and Gao, Jianfeng},
    journal = {arXiv:1904.09482},
    year = {2019},
    url = {https://arxiv.org/abs/1904.09482},
}
"""
    terms_in_nats = frozenset({"loss", "hard_loss", "kd_loss"})
    learns_untaught = True

    def needs(self, student: ModelDescription, teacher: ModelDescription | None) -> Needs:
        """Ask for distributions over classes, or for scores; see :class:`KDCriterion`."""
        return Needs(
            teacher=NOTHING_ELSE, teacher_values="logits" if student.is_regression else "probabilities"
        )

    def training_loss(
        self, student: ModelOutput, target: Tensor, teacher: TeacherSignal | None
    ) -> CriterionOutput:
        """Return the loss summed over sentences."""
        logits, count = student.sentence_logits(), torch.tensor(len(target))  # (B, C)
        terms = {"hard_loss": Term(hard_label_loss(logits, target).sum(), count)}
        weight = weight_of_terms(self.config.kd_mode)
        if teacher is None:
            # Workers add up what they log, so all of them log the same terms.
            terms["kd_loss"] = Term(logits.new_zeros(()), torch.tensor(0))
            return CriterionOutput.weighted({"hard_loss": 1.0}, terms, len(target))
        if target.is_floating_point():
            soft = logits_mse(logits, teacher.logits)  # (B,)
        else:
            log_q = teacher.log_probabilities().to(logits.dtype)  # (B, C)
            soft = soft_label_loss(logits, log_q, self.config.kd_mode, self.config.kd_divergence)  # (B,)
        terms["kd_loss"] = Term(soft.sum(), count)
        return CriterionOutput.weighted({"hard_loss": weight, "kd_loss": weight}, terms, len(target))
