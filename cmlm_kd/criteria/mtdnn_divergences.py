"""The divergences that ``kd_loss`` of a task chooses from in the released code's master branch
(``mt_dnn/loss.py``), each a value a sentence.

For the student's distribution p = softmax(s) and the teacher's q, which is never differentiated::

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

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from cmlm_kd.losses import entropy, soft_cross_entropy, widen

Divergence = Literal["kl", "sym_kl", "ns_kl", "ns_sym_kl", "js", "hl"]

EPSILON = 1e-6
"""Of ``stable_kl``: keeps log-odds of 0 and 1 finite."""


def kl(logits: Tensor, probs: Tensor) -> Tensor:
    """Return KL(q | p), ``(B,)``; ``KlCriterion``."""
    return soft_cross_entropy(logits, probs) - entropy(probs)


def symmetric_kl(logits: Tensor, probs: Tensor) -> Tensor:
    """Return KL(q | p) + KL(p | q), ``(B,)``; ``SymKlCriterion``, whose second part has no gradient."""
    fixed = _probabilities(logits).detach()  # (B, C)
    return kl(logits, probs) + _kl_of(fixed, probs)


def noise_stable_kl(logits: Tensor, probs: Tensor) -> Tensor:
    """Return the difference of log-odds under p, twice, ``(B,)``; ``NsKlCriterion`` (``stable_kl``)."""
    student = _probabilities(logits)  # (B, C)
    return _stable(student, student.detach(), probs)


def noise_stable_symmetric_kl(logits: Tensor, probs: Tensor) -> Tensor:
    """Return :func:`noise_stable_kl` in both directions, ``(B,)``; ``NsSymKlCriterion``, whose second part
    has no gradient."""
    fixed = _probabilities(logits).detach()  # (B, C)
    return noise_stable_kl(logits, probs) + _stable(probs, probs, fixed)


def jensen_shannon(logits: Tensor, probs: Tensor) -> Tensor:
    """Return KL(m | p) + KL(m | q) with a fixed mean m, ``(B,)``; ``JSCriterion``: the directions are the
    reverse of Jensen and Shannon's, and there is no half."""
    middle = (_probabilities(logits).detach() + probs) / 2  # (B, C)
    return kl(logits, middle) + _kl_of(middle, probs)


def hellinger(logits: Tensor, probs: Tensor) -> Tensor:
    """Return the squared difference of roots, its mean over classes, ``(B,)``, without gradient;
    ``HLCriterion``."""
    fixed = _probabilities(logits).detach()  # (B, C)
    return (fixed.sqrt() - probs.sqrt()).square().mean(-1)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "sym_kl": symmetric_kl,
    "ns_kl": noise_stable_kl,
    "ns_sym_kl": noise_stable_symmetric_kl,
    "js": jensen_shannon,
    "hl": hellinger,
}
"""Name -> function of the student's logits ``(B, C)`` and the teacher's probabilities ``(B, C)``."""


def _probabilities(logits: Tensor) -> Tensor:
    return widen(logits).softmax(-1)


def _kl_of(first: Tensor, second: Tensor) -> Tensor:
    """Return KL(first | second) of two distributions, ``(B,)``, with 0 log 0 = 0."""
    smallest = torch.finfo(second.dtype).tiny  # a probability that underflowed
    return -(first * second.clamp(min=smallest).log()).sum(-1) - entropy(first)


def _stable(weights: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return twice the difference of two log-odds under ``weights``, ``(B,)``."""
    return 2 * (weights * (_log_odds(first) - _log_odds(second))).sum(-1)


def _log_odds(probs: Tensor) -> Tensor:
    return -(1 / (probs + EPSILON) - 1 + EPSILON).log()
