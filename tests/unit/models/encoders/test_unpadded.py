"""Layers without padding say what the plain ones say, whatever the lengths and their order."""

import copy

import pytest
import torch
from transformers import BertConfig, BertModel

from cmlm_kd.models.encoders import unpadded
from cmlm_kd.models.encoders.families import encoder_layers
from cmlm_kd.models.encoders.packed_linear import can_pack, pack_linear_layers
from cmlm_kd.models.encoders.unpadded import RealPositions, UnpaddedLayers

LENGTHS = {"sorted": [9, 9, 7, 7, 7, 2], "in any order": [2, 9, 7, 9, 9, 1], "alone": [5], "alike": [6, 6, 6]}


def make_encoder():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=300,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def make_batch(lengths, masked_of_a_row=2):
    generator = torch.Generator().manual_seed(1)
    shape = (len(lengths), max(lengths) + 1)  # the last column is padding alone
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]  # (B, S)
    ids = torch.randint(4, 50, shape, generator=generator).masked_fill(~mask, 0)  # (B, S)
    masked = [
        row * shape[1] + place
        for row, length in enumerate(lengths)
        for place in range(min(length, masked_of_a_row + row % 2))
    ]
    return ids, mask.long(), torch.tensor(masked)


def both(encoder, ids, mask, masked, autocast):
    """Return the masked positions' states of the plain encoder and of one without padding."""
    changed = copy.deepcopy(encoder)
    layers = UnpaddedLayers(encoder_layers(changed))
    if autocast:
        for module in changed.modules():
            if isinstance(module, torch.nn.Linear):
                module.to(torch.bfloat16)
        pack_linear_layers(changed)
    layers.look_at(RealPositions.of(mask, masked))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        plain = encoder(ids, attention_mask=mask).last_hidden_state.flatten(0, 1)[masked]  # (M, d)
        return plain.float(), changed(ids, attention_mask=mask).last_hidden_state.squeeze(0).float()


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_states_are_those_of_the_plain_layers(lengths):
    plain, found = both(make_encoder(), *make_batch(lengths), autocast=False)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this CPU has no bfloat16 products")
@pytest.mark.parametrize("longest", [unpadded._LONGEST_BY_PRODUCTS, 0], ids=["by products", "fused"])
def test_bfloat16_errs_no_more_than_in_the_plain_layers(longest, monkeypatch):
    monkeypatch.setattr(unpadded, "_LONGEST_BY_PRODUCTS", longest)
    encoder, batch = make_encoder(), make_batch(LENGTHS["sorted"])
    exact, _ = both(encoder, *batch, autocast=False)
    plain, found = both(encoder, *batch, autocast=True)
    assert 0 < (found - exact).norm() < 1.5 * (plain - exact).norm()


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this CPU has no bfloat16 products")
def test_long_rows_take_the_fused_kernel(monkeypatch):
    lengths = [unpadded._LONGEST_BY_PRODUCTS + 1, 5]
    multiplied = []
    product = torch.bmm
    monkeypatch.setattr(
        torch, "bmm", lambda left, right: multiplied.append(right.shape) or product(left, right)
    )
    both(make_encoder(), *make_batch(lengths), autocast=True)
    assert multiplied and {size for _, *sizes in multiplied for size in sizes} == {5, 8}


def test_positions_are_found_row_by_row():
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0]])
    positions = RealPositions.of(mask, torch.tensor([1, 2, 6, 8]))
    assert positions.index.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert positions.masked.tolist() == [1, 2, 5, 6]
    groups = [
        (group.start, group.rows, group.length, group.asked.tolist(), group.real)
        for group in positions.groups
    ]
    assert groups == [(0, 2, 3, [2, 1], slice(0, 6)), (6, 1, 1, [1], slice(6, 7))]
