import numpy as np

from cmlm_kd.data.masking.batch import MaskingScheme, mask_tokens

MASK = 4
ORDINARY = np.arange(5, 1000, dtype=np.int32)
PIECES = np.arange(100, 900, dtype=np.int32)


def draws(probability=0.15, rounds=200):
    scheme = MaskingScheme(MASK, ORDINARY, probability)
    generator = np.random.default_rng(1)
    shown, chosen = zip(*(mask_tokens(PIECES, scheme, generator) for _ in range(rounds)), strict=True)
    return np.stack(shown), np.stack(chosen)


def test_15_percent_are_chosen_and_80_10_10_of_them_masked_replaced_kept():
    shown, chosen = draws()
    assert abs(chosen.mean() - 0.15) < 0.005
    masked = (shown == MASK)[chosen].mean()
    kept = (shown == PIECES)[chosen].mean()
    assert abs(masked - 0.8) < 0.01
    assert abs(kept - 0.1) < 0.01
    assert abs(1 - masked - kept - 0.1) < 0.01


def test_pieces_that_are_not_chosen_are_untouched_and_the_input_stays():
    before = PIECES.copy()
    shown, chosen = draws()
    assert (shown == PIECES)[~chosen].all()
    assert (before == PIECES).all()


def test_replacements_are_ordinary_pieces_of_every_kind():
    shown, _ = draws(probability=1.0)
    replaced = shown[(shown != MASK) & (shown != PIECES)]
    assert replaced.min() >= ORDINARY.min()
    assert len(np.unique(replaced)) == len(ORDINARY)


def test_one_piece_is_always_chosen():
    scheme = MaskingScheme(MASK, ORDINARY, 0.01)
    generator = np.random.default_rng(1)
    for _ in range(50):
        assert mask_tokens(PIECES[:1], scheme, generator)[1].all()
