"""Masks that prefer rare pieces: DistilBERT's choice of what to predict, over a whole batch at once.

A piece that stands c times in the training text is chosen in proportion to ``max(c, 1) ** -smoothing`` (the
released ``train.py`` and ``distiller.py: prepare_batch_mlm``; XLM's idea). The number of choices is fixed,
the given share of the batch rounded up, and they are drawn without replacement, so that common pieces give
way to rare ones of other sentences: a sentence alone may get none.

The released code also drops choices until their number is a multiple of 8 when it trains in half precision;
that is not copied. What replaces a chosen piece is :func:`cmlm_kd.data.masking.replacement.hide_chosen`'s matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

SMOOTHING = 0.7
"""The released code's."""


def check_smoothing(owner: str, smoothing: float) -> None:
    """Raise UserError, in the name of ``owner``, unless a ``--mask-smoothing`` is 0 or more."""
    if not (smoothing >= 0 and math.isfinite(smoothing)):
        raise UserError(
            f"{owner}: --mask-smoothing is {smoothing}, it must be at least 0; 0 treats all pieces alike, "
            f"{SMOOTHING} is usual"
        )


def smoothed_weights(
    counts: NDArray[np.int64], special_ids: Sequence[int], smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """Return in what proportion pieces are chosen, ``(V,)``.

    Args:
        counts: ``(V,)`` how often each piece stands in the training text.
        special_ids: ids that are never chosen.
        smoothing: at least 0; 0 treats all pieces alike.
    """
    weights = np.maximum(counts, 1).astype(np.float64) ** -smoothing  # (V,)
    weights[list(special_ids)] = 0.0
    return weights


def smoothed_mask(
    pieces: NDArray[np.integer],
    weights: NDArray[np.float64],
    probability: float,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Choose positions of a batch to predict.

    Args:
        pieces: ``(N,)`` ids of all real positions of the batch, one sentence after the other; special tokens
            among them count for the share and are never chosen.
        weights: ``(V,)``, see :func:`smoothed_weights`.
        probability: share of the positions, in (0, 1].
        generator: source of randomness, such as :func:`cmlm_kd.data.masking.positions.batch_generator`.

    Returns:
        ``(N,)`` bool: ``ceil(probability * N)`` positions, fewer only where fewer can be chosen.
    """
    weight = weights[pieces]  # (N,)
    number = min(math.ceil(probability * len(pieces)), int(np.count_nonzero(weight)))
    chosen = np.zeros(len(pieces), np.bool_)  # (N,)
    if number:
        # Whichever of clocks with these rates ring first: the draw of one after the other without
        # replacement, in a single step.
        with np.errstate(divide="ignore"):
            times = generator.exponential(size=len(pieces)) / weight  # (N,), inf where the weight is 0
        chosen[np.argpartition(times, number - 1)[:number]] = True
    return chosen
