"""How a teacher reads a pair."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import SpecialIds
from cmlm_kd.tokenization.positions import usable_positions

CLS, SEP, MASK, PAD, UNK = 90, 91, 92, 93, 94
SOURCE_IDS = np.arange(100, 120, dtype=np.int32)
TARGET_IDS = np.arange(200, 220, dtype=np.int32)
EOS = 2


def pair_format(separators=1):
    target_ids = TARGET_IDS.copy()
    target_ids[EOS] = SEP
    return PairFormat(SpecialIds(CLS, SEP, MASK, PAD, UNK), separators, SOURCE_IDS, target_ids)


def masks(*positions_and_lengths):
    return [np.isin(np.arange(length), positions) for positions, length in positions_and_lengths]


@pytest.mark.parametrize("separators", [1, 2])
def test_a_batch_of_two(separators):
    sources = [np.array([5, 6, EOS]), np.array([7, EOS])]
    targets = [np.array([8, 9, 10, EOS]), np.array([11, EOS])]
    batch = frame_pairs(sources, targets, masks(([1, 3], 4), ([0], 2)), pair_format(separators))
    middle = [SEP] * separators
    long = [CLS, 105, 106, *middle, 208, MASK, 210, MASK]
    short = [CLS, 107, *middle, MASK, SEP]
    padding = len(long) - len(short)
    assert batch.input_ids.tolist() == [long, [*short, *[PAD] * padding]]
    assert batch.attention_mask.tolist() == [[1] * len(long), [1] * len(short) + [0] * padding]
    assert batch.token_type_ids.tolist() == [
        [0] * (3 + separators) + [1] * 4,
        [0] * (2 + separators) + [1] * 2 + [0] * padding,
    ]
    assert batch.labels.tolist() == [9, EOS, 11]
    at_masks = batch.input_ids.flatten()[batch.masked_index]
    assert at_masks.tolist() == [MASK] * 3
    assert (batch.input_ids == MASK).sum() == 3
    lengths = pair_format(separators).lengths(np.array([3, 2], np.int32), np.array([4, 2], np.int32))
    assert lengths.tolist() == [len(long), len(short)] == batch.attention_mask.sum(dim=1).tolist()


def test_padding_and_order_change_nothing_else():
    generator = np.random.default_rng(0)
    sources, targets, hidden = [], [], []
    for length in (1, 5, 9, 3):
        sources.append(np.append(generator.integers(4, 20, length), EOS))
        targets.append(np.append(generator.integers(4, 20, 2 * length), EOS))
        hidden.append(generator.random(2 * length + 1) < 0.5)
    together = frame_pairs(sources, targets, hidden, pair_format())
    for row, (source, target, mask) in enumerate(zip(sources, targets, hidden, strict=True)):
        alone = frame_pairs([source], [target], [mask], pair_format())
        length = alone.input_ids.shape[1]
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            assert torch.equal(getattr(together, name)[row, :length], getattr(alone, name)[0])
        assert not together.attention_mask[row, length:].any()
    assert together.labels.tolist() == [
        entry for target, mask in zip(targets, hidden, strict=True) for entry in target[mask]
    ]


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("bert", {}),
        ("distilbert", {"dim": 8, "n_layers": 1, "n_heads": 1, "hidden_dim": 8}),
        ("electra", {"embedding_size": 8}),
        ("roberta", {"pad_token_id": 1}),
        ("xlm-roberta", {"pad_token_id": 1}),
        ("camembert", {"pad_token_id": 1}),
        ("mpnet", {"pad_token_id": 1}),
    ],
)
def test_usable_positions_are_what_the_model_takes(model_type, settings):
    if model_type != "distilbert":
        settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, **settings}
        settings["intermediate_size"] = 8
    config = AutoConfig.for_model(model_type, vocab_size=20, max_position_embeddings=12, **settings)
    positions = usable_positions(config)
    assert positions == (10 if settings.get("pad_token_id") == 1 else 12)
    model = AutoModel.from_config(config).eval()

    def read(length):
        return model(
            input_ids=torch.full((1, length), 5), attention_mask=torch.ones(1, length, dtype=torch.long)
        )

    assert read(positions).last_hidden_state.shape == (1, positions, 8)
    with pytest.raises((IndexError, RuntimeError)):
        read(positions + 1)


def test_a_model_that_does_not_tell_its_positions():
    with pytest.raises(UserError, match=r"t5.*max_position_embeddings"):
        usable_positions(AutoConfig.for_model("t5"))
