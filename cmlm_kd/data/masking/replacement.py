"""Which pieces plain masked language modelling hides, and behind what (Devlin et al., 2019, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.masking.positions import MASK_PROBABILITY, random_mask

KEPT, REPLACED = 0.1, 0.1
"""Shares of the chosen pieces that stay as they are, or become any piece; the others become ``[MASK]``."""


@dataclass(frozen=True)
class MaskingScheme:
    """What hides a piece.

    Attributes:
        mask_id: the id of ``[MASK]``.
        ordinary_ids: ``(n,)`` ids that may replace a piece: all but the special ones.
        probability: share of the pieces to choose, in (0, 1].
    """

    mask_id: int
    ordinary_ids: NDArray[np.int32]
    probability: float = MASK_PROBABILITY


def hide_pieces(
    pieces: NDArray[np.int32], scheme: MaskingScheme, generator: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Choose pieces to predict, at least one, and hide them.

    Args:
        pieces: ``(L,)`` ids of one text without its frame of special tokens; ``L`` at least 1.
        scheme: what hides a piece.
        generator: source of randomness.

    Returns:
        what the model reads ``(L,)``, and ``(L,)`` bool, True where it has to say what stood there. Of these,
        80 % show ``[MASK]``, 10 % a random piece, 10 % the piece itself.
    """
    chosen = random_mask(len(pieces), generator, scheme.probability)  # (L,)
    return hide_chosen(pieces, chosen, scheme, generator), chosen


def hide_chosen(
    pieces: NDArray[np.int32],
    chosen: NDArray[np.bool_],
    scheme: MaskingScheme,
    generator: np.random.Generator,
) -> NDArray[np.int32]:
    """Return what the model reads where the pieces to predict are chosen already, ``(L,)``.

    Args:
        pieces: ``(L,)`` ids.
        chosen: ``(L,)``, True where the model has to say what stood there; each meets its fate alone, also
            inside a word that is chosen as a whole.
        scheme: what hides a piece.
        generator: source of randomness.
    """
    fate = generator.random(len(pieces))  # (L,)
    replaced = chosen & (fate < REPLACED)  # (L,)
    masked = chosen & (fate >= REPLACED + KEPT)  # (L,)
    shown = pieces.copy()  # (L,)
    shown[replaced] = generator.choice(scheme.ordinary_ids, int(replaced.sum()))
    shown[masked] = scheme.mask_id
    return shown
