"""Which target positions a conditional masked language model has to predict.

Positions count the target's pieces and its EOS: a target of ``L`` positions has ``L - 1`` pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

MASK_PROBABILITY = 0.15
"""Chen et al. (2020), section 3.1, as in BERT."""

COVER_STRIDE = 7
"""Chen et al. (2020), appendix A: 1 / 7 of the positions a pass, close to 15 %."""


def check_mask_probability(owner: str, probability: float) -> None:
    """Raise UserError, in the name of ``owner``, unless a ``--mask-probability`` is in (0, 1]."""
    if not 0 < probability <= 1:
        raise UserError(
            f"{owner}: --mask-probability is {probability}, it must be in (0, 1]; {MASK_PROBABILITY} is usual"
        )


def random_mask(
    length: int, generator: np.random.Generator, probability: float = MASK_PROBABILITY
) -> NDArray[np.bool_]:
    """Draw the positions to mask in training, at least one.

    Every position, EOS included, is masked with ``probability`` independently, given that not all of them
    stay unmasked (released code: ``cmlm/data.py: convert_example_to_features`` draws again until one is).

    Args:
        length: positions of the target, EOS included; at least 1.
        generator: source of randomness.
        probability: in (0, 1].

    Returns:
        ``(length,)`` bool, True where the input is ``[MASK]``.
    """
    mask = generator.random(length) < probability  # (length,)
    if not mask.any():
        # Where the first masked position lies, given that there is one, is a truncated geometric draw: one
        # step, however small the probability. What follows it is independent of it.
        any_at_all = -np.expm1(length * np.log1p(-probability))
        first = int(np.log1p(-generator.random() * any_at_all) / np.log1p(-probability))
        first = min(first, length - 1)  # rounding
        mask[first] = True
        mask[first + 1 :] = generator.random(length - first - 1) < probability
    return mask


def sentence_generator(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return a generator of nothing but its arguments, so batches and workers do not change a draw."""
    return np.random.default_rng((seed, epoch, row))


def batch_generator(seed: int, epoch: int, rows: Sequence[int]) -> np.random.Generator:
    """Return a generator of nothing but its arguments, for draws that the rows of a batch share."""
    return np.random.default_rng((seed, epoch, *rows))


def cover_passes(length: int, stride: int = COVER_STRIDE) -> int:
    """Return how many passes cover a target: ``stride``, or one a position where there are fewer."""
    return min(length, stride)


def cover_mask(length: int, index: int, stride: int = COVER_STRIDE) -> NDArray[np.bool_]:
    """Return the positions that one pass masks: ``index``, ``index + stride``, ``index + 2 * stride``, ...

    Over ``cover_passes(length, stride)`` passes every position is masked exactly once (released code:
    ``dump_teacher_hiddens.py: convert_example``).

    Args:
        length: positions of the target, EOS included; at least 1.
        index: of the pass, 0 to ``cover_passes(length, stride) - 1``.
        stride: distance of the masked positions, at least 1.

    Returns:
        ``(length,)`` bool.
    """
    mask = np.zeros(length, np.bool_)  # (length,)
    mask[index::stride] = True
    return mask
