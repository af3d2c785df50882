"""Terms that several losses share, as pure functions with every reduction spelled out.

All of them map tokens to tokens: they sum over the vocabulary, never over tokens, and never divide. Whoever
calls them sums over the tokens that count and says what divides the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ANCHORS = 128
"""Entries of a row from which the normaliser of rounded probabilities is estimated."""
ANCHOR_GROUPS = 8
"""Places of a row that they are taken from."""
SMALLEST = 1e-30
"""Probability up to which an entry says nothing: below, numbers of eight exponent bits lose digits."""

SmoothingMode = Literal["fairseq", "original"]


def widen(values: Tensor) -> Tensor:
    """Return half-precision values as float32, wider ones unchanged: no loss is computed in half."""
    return values.float() if values.dtype.itemsize < 4 else values


def smoothing_weights(epsilon: float, vocabulary: int, mode: SmoothingMode) -> tuple[float, float]:
    """Return what label smoothing puts on the gold entry and on each entry of the vocabulary, gold included.

    Args:
        epsilon: label smoothing in [0, 1).
        vocabulary: number of entries ``V``.
        mode: ``"fairseq"`` spreads epsilon over the V-1 other entries: the weights sum to 1. ``"original"``
            is the released C-MLM code (``onmt/utils/loss.py``), which divides by V-2 and still sums over all
            V: the weights sum to ``1 + 2 * epsilon / (V - 2)``.
    """
    if mode == "fairseq":
        uniform = epsilon / (vocabulary - 1)
        return 1.0 - epsilon - uniform, uniform
    return 1.0 - epsilon, epsilon / (vocabulary - 2)


def negative_log_likelihood(log_probs: Tensor, target: Tensor) -> Tensor:
    """Return ``-log p[y]`` per token: ``log_probs (N, V)``, ``target (N,)`` -> ``(N,)``."""
    return -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def label_smoothed_nll(log_probs: Tensor, target: Tensor, epsilon: float, mode: SmoothingMode) -> Tensor:
    """Return label-smoothed negative log-likelihoods per token, ``(N,)``; see :func:`smoothing_weights`."""
    gold, uniform = smoothing_weights(epsilon, log_probs.size(-1), mode)
    nll = negative_log_likelihood(log_probs, target)  # (N,)
    if epsilon == 0.0:  # spares the pass over the vocabulary
        return nll
    return gold * nll - uniform * log_probs.sum(-1)


def soft_cross_entropy(logits: Tensor, probs: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ``-sum_c probs[c] log softmax(logits / T)[c]`` in nats per row, ``(N,)``; without T^2.

    What the teacher rules out counts 0, also where the student rules it out (-inf).

    Args:
        logits: ``(N, C)`` of the student.
        probs: ``(N, C)`` of the teacher, at the temperature already.
        temperature: T of the student, above 0.
    """
    return -expected(probs, F.log_softmax(widen(logits) / temperature, -1))


def sparse_cross_entropy(log_probs: Tensor, ids: Tensor, probs: Tensor) -> Tensor:
    """Return ``-sum_k probs[k] * log_probs[ids[k]]`` per token, summed over k and never divided.

    Args:
        log_probs: ``(N, V)``, the student's log-probabilities over the full vocabulary.
        ids: ``(N, k)`` int64; an entry that comes twice counts twice.
        probs: ``(N, k)``, the teacher's probabilities of these entries.
    """
    return -expected(probs, log_probs.gather(-1, ids))


def expected(probs: Tensor, log_probs: Tensor) -> Tensor:
    """Return ``sum_c probs[c] * log_probs[c]``, where 0 * -inf is 0: ``(N, C)`` -> ``(N,)``."""
    return (probs * log_probs).masked_fill(probs == 0, 0.0).sum(-1)


def log_mass_outside(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Return the log of the mass of everything not in ``ids (N, k)``: ``(N,)``, exact where it is tiny."""
    # Added up over what is outside: 1 less the mass inside would be rounding error where that is near 1.
    return log_probs.scatter(-1, ids, float("-inf")).logsumexp(-1)


def entropy(probs: Tensor) -> Tensor:
    """Return ``-sum_k p[k] log p[k]`` in nats per token, with 0 log 0 = 0: ``(N, k)`` -> ``(N,)``."""
    total: Tensor = torch.special.entr(probs).sum(-1)
    return total


def kl_of_log_probs(log_target: Tensor, log_probs: Tensor) -> Tensor:
    """Return KL(target | p) in nats per row, with 0 log 0 = 0: logarithms ``(..., C)`` -> ``(...)``.

    Logarithms know probabilities that would underflow. An entry that the target rules out (-inf, of a masked
    vocabulary) counts 0, where the product 0 * -inf would be NaN.
    """
    products = log_target.exp() * (log_target - log_probs)  # (N, C)
    return products.masked_fill(log_target.isneginf(), 0.0).sum(-1)


def repeats(ids: Tensor) -> Tensor:
    """Return ``(N, k)`` bool: True where an entry of a row has come before in that row."""
    same = ids.unsqueeze(-1) == ids.unsqueeze(-2)  # (N, k, k)
    return same.tril(diagonal=-1).any(-1)


def softmax_in_place(logits: Tensor) -> Tensor:
    """Overwrite ``logits (N, V)`` with their softmax and return the log-normaliser, ``(N, 1)``.

    No temporary of size (N, V) is made. The largest probability is 1 / sum(exp(z - max z)), so that the
    normaliser needs no exponentials of its own and cannot overflow.
    """
    largest = logits.amax(-1, keepdim=True)  # (N, 1)
    torch.softmax(logits, -1, out=logits)
    return largest - logits.amax(-1, keepdim=True).log_()


def rounded_softmax_in_place(logits: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
    """Overwrite bfloat16 ``logits (N, V)`` with their softmax; return the log-normaliser ``(N, 1)``, float32.

    Every entry says ``log Z = z - log p``, with an error of up to 2^-8 since p is rounded. Roundings go up
    and down: the mean of some entries is within 1e-3 of log Z, mostly within 2e-4 (of entries that are all
    alike, as of words that never occur, within 2^-8), where the logits themselves are rounded by 2^-9 of
    their size. The exact one would cost a wide copy of all logits.

    Args:
        logits: V is at least :data:`ANCHORS`.
        again: gives the logits ``(M, V)`` of some rows ``(M,)`` anew.
    """
    # From all over the vocabulary, since neighbours may be words that never occur, whose roundings are one;
    # but by groups, for single entries would each miss the cache.
    group, step = ANCHORS // ANCHOR_GROUPS, logits.size(1) // ANCHOR_GROUPS
    start = (step - group) // 2
    parts = logits[:, : step * ANCHOR_GROUPS].view(len(logits), ANCHOR_GROUPS, step)  # (N, G, V/G)
    some = parts[:, :, start : start + group]  # (N, G, n/G)
    before = some.float()
    torch.softmax(logits, -1, out=logits)
    after = some.float()  # of the same memory, now p
    normaliser = before.sub_(after.log()).mean((1, 2)).unsqueeze(1)  # (N, 1)
    doubtful = ~(after.amin((1, 2)) > SMALLEST)  # (N,)
    if doubtful.any():  # the student rules such entries out
        rows = doubtful.nonzero().squeeze(1)  # (M,)
        normaliser[rows] = again(rows).float().logsumexp(1, keepdim=True)
    return normaliser
