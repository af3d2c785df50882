"""Framed pairs for a C-MLM teacher of the tiny encoders."""

import numpy as np

from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID
from cmlm_kd.tokenization.pieces import SpecialIds

SPECIAL = SpecialIds(cls=0, sep=2, mask=4, pad=1, unk=3)
TARGET_IDS = np.array([0, 1, 2, 3, 7, 9, 7, 30, 8, NO_TEACHER_ID, NO_TEACHER_ID, 39], np.int32)
"""Entries 4 and 6 share a piece, 9 and 10 are padding."""


def make_batch(seed=0, rows=3, separators=1):
    """Three pairs of different lengths, some positions of each masked."""
    generator = np.random.default_rng(seed)
    pair_format = PairFormat(SPECIAL, separators, np.arange(5, 15, dtype=np.int32), TARGET_IDS)
    lengths = generator.integers(2, 9, (rows, 2))
    sources = [generator.integers(0, 10, length) for length in lengths[:, 0]]
    targets = [np.append(generator.integers(4, 9, length - 1), 2) for length in lengths[:, 1]]
    masks = [np.arange(len(target)) % 3 == row % 2 for row, target in enumerate(targets)]
    return frame_pairs(sources, targets, masks, pair_format)
