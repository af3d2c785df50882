"""Linear layers with packed weights compute what PyTorch's own do."""

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from cmlm_kd.teachers.packed_linear import PackedLinear, can_pack, pack_linear_layers

pytestmark = pytest.mark.skipif(not can_pack(), reason="this CPU or PyTorch has no packed bfloat16 layers")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_it_is_the_layer_and_its_activation(activation, bias):
    torch.manual_seed(1)
    linear = nn.Linear(24, 40, bias=bias).to(torch.bfloat16)
    states = torch.randn(3, 7, 24)
    with torch.inference_mode():
        found = PackedLinear(linear, activation)(states)  # (3, 7, 40)
        expected = linear.float()(states.to(torch.bfloat16).float())  # (3, 7, 40)
        if activation == "gelu":
            expected = nn.functional.gelu(expected)
    assert found.dtype == torch.bfloat16 and found.shape == (3, 7, 40)
    torch.testing.assert_close(found.float(), expected, rtol=2**-7, atol=1e-3)


class Intermediate(nn.Module):
    """The names that Hugging Face's BERT layers use."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(16, 32)
        self.intermediate_act_fn = ACT2FN[activation]

    def forward(self, states):
        return self.intermediate_act_fn(self.dense(states))


@pytest.mark.parametrize(("activation", "fused"), [("gelu", True), ("gelu_new", False), ("relu", False)])
def test_only_the_exact_gelu_becomes_part_of_its_layer(activation, fused):
    torch.manual_seed(2)
    module = nn.Sequential(Intermediate(activation), nn.Linear(32, 8)).to(torch.bfloat16)
    states = torch.randn(5, 16).to(torch.bfloat16)
    with torch.inference_mode():
        expected = module(states)  # (5, 8)
        pack_linear_layers(module)
        found = module(states)  # (5, 8)
    assert isinstance(module[0].dense, PackedLinear) and isinstance(module[1], PackedLinear)
    assert isinstance(module[0].intermediate_act_fn, nn.Identity) == fused
    torch.testing.assert_close(found, expected, rtol=2**-6, atol=2e-2)


def test_float32_layers_stay_as_they_are():
    module = nn.Sequential(nn.Linear(4, 4))
    pack_linear_layers(module)
    assert type(module[0]) is nn.Linear
