"""Linear layers with packed weights compute what PyTorch's own do."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from cmlm_kd.models.encoders.packed_linear import PackedLinear, can_pack, pack_linear_layers

needs = {
    dtype: pytest.mark.skipif(not can_pack(dtype), reason=f"this CPU or PyTorch packs no {dtype} layers")
    for dtype in (torch.bfloat16, torch.float32)
}
TOLERANCE = {torch.bfloat16: {"rtol": 2**-7, "atol": 1e-3}, torch.float32: {"rtol": 1e-5, "atol": 1e-5}}
TYPES = [pytest.param(dtype, marks=mark) for dtype, mark in needs.items()]
PLAIN = {"none": lambda x: x, "gelu": nn.functional.gelu, "tanh": torch.tanh}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["none", "gelu", "tanh"])
@pytest.mark.parametrize("dtype", TYPES)
def test_it_is_the_layer_and_its_activation(dtype, activation, bias):
    torch.manual_seed(1)
    linear = nn.Linear(24, 40, bias=bias).to(dtype)
    states = torch.randn(3, 7, 24)
    with torch.inference_mode():
        found = PackedLinear(linear, activation, rows=40)(states)  # (3, 7, 40)
        expected = PLAIN[activation](linear.float()(states.to(dtype).float()))  # (3, 7, 40)
    assert found.dtype == dtype and found.shape == (3, 7, 40)
    torch.testing.assert_close(found.float(), expected, **TOLERANCE[dtype])


@pytest.fixture
def linear():
    torch.manual_seed(3)
    return nn.Linear(6, 5)


STATES = torch.linspace(-1, 1, 24).view(4, 6)


def packed_result(layer):
    """What a layer computes, which must be by its packed weight."""
    assert layer.packed is not None and layer.packed.layout == torch._mkldnn
    with torch.inference_mode():
        return layer(STATES)


@needs[torch.float32]
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_is_packed_and_has_weights_of_its_own(linear, copied):
    layer = PackedLinear(linear, "tanh")
    again = copied(layer)
    torch.testing.assert_close(packed_result(again), packed_result(layer), rtol=0, atol=0)
    assert again.weight is not layer.weight and torch.equal(again.weight, linear.weight)


@needs[torch.float32]
@pytest.mark.parametrize("assign", [False, True])
def test_weights_that_are_loaded_are_packed(linear, assign):
    layer = PackedLinear(linear)
    other = nn.Linear(6, 5)
    nn.ModuleDict({"a": layer}).load_state_dict(nn.ModuleDict({"a": other}).state_dict(), assign=assign)
    torch.testing.assert_close(packed_result(layer), other(STATES).detach(), rtol=0, atol=1e-5)


@needs[torch.float32]
def test_moves_to_another_type_and_back(linear):
    layer = PackedLinear(linear, "gelu").double()
    assert layer.packed is None and layer(STATES.double()).dtype == torch.float64
    expected = nn.functional.gelu(linear.float()(STATES)).detach()
    torch.testing.assert_close(packed_result(layer.float()), expected, rtol=0, atol=1e-5)
    meta = copy.deepcopy(layer).to("meta")
    assert meta.packed is None and meta(STATES.to("meta")).shape == (4, 5)


@needs[torch.float32]
def test_training_uses_the_weight_that_is_trained(linear):
    layer = PackedLinear(linear, "gelu").eval()
    assert layer.packed is not None
    layer(STATES).sum().backward()  # gradients flow in evaluation mode too
    assert layer.weight.grad is not None and layer.weight is linear.weight
    layer.train()
    with torch.no_grad():
        layer.weight.zero_()
    layer.eval().to(torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(layer(STATES), nn.functional.gelu(layer.bias.expand(4, 5)))
    assert layer.packed is None


@needs[torch.float32]
def test_autocast_gets_its_half_precision(linear):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert PackedLinear(linear)(STATES).dtype == torch.bfloat16


def test_layers_are_the_plain_ones_where_nothing_can_be_packed(monkeypatch, linear):
    monkeypatch.setattr("cmlm_kd.models.encoders.packed_linear.can_pack", lambda dtype: False)
    layer, module = PackedLinear(linear, "tanh"), nn.Sequential(linear)
    pack_linear_layers(module)
    assert layer.packed is None and type(module[0]) is nn.Linear
    with torch.inference_mode():
        assert torch.equal(layer(STATES), torch.tanh(linear(STATES)))


class Intermediate(nn.Module):
    """The names that Hugging Face's BERT layers use."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(16, 32)
        self.intermediate_act_fn = ACT2FN[activation]

    def forward(self, states):
        return self.intermediate_act_fn(self.dense(states))


@pytest.mark.parametrize(("activation", "fused"), [("gelu", True), ("gelu_new", False), ("relu", False)])
@pytest.mark.parametrize("dtype", TYPES)
def test_only_the_exact_gelu_becomes_part_of_its_layer(dtype, activation, fused):
    torch.manual_seed(2)
    module = nn.Sequential(Intermediate(activation), nn.Linear(32, 8)).to(dtype)
    names = set(module.state_dict())
    states = torch.randn(5, 16).to(dtype)
    with torch.inference_mode():
        expected = module(states)  # (5, 8)
        pack_linear_layers(module)
        pack_linear_layers(module)  # again, which changes nothing
        found = module(states)  # (5, 8)
    assert isinstance(module[0].dense, PackedLinear) and isinstance(module[1], PackedLinear)
    assert isinstance(module[0].intermediate_act_fn, nn.Identity) == fused
    assert set(module.state_dict()) == names
    tolerance = {"rtol": 2**-6, "atol": 2e-2} if dtype == torch.bfloat16 else TOLERANCE[dtype]
    torch.testing.assert_close(found, expected, **tolerance)
    torch.testing.assert_close(module.train()(states), expected, **tolerance)


def test_layers_of_other_types_stay_as_they_are():
    module = nn.Sequential(nn.Linear(4, 4)).double()
    pack_linear_layers(module)
    assert type(module[0]) is nn.Linear
