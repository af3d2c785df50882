"""What FastBERT's own forward returned (autoliuweijie/FastBERT @ 859632f, executed in float64)."""

import math

import pytest
import torch

from cmlm_kd.api.criterion import hard_label_loss
from cmlm_kd.criteria.fastbert import self_distillation_loss
from cmlm_kd.models.fastbert.branch import uncertainty

UNCERTAINTIES = [0.8265433238, 0.6774780880, 0.9327160827, 0.8317196053]


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


@pytest.fixture
def teacher():
    return waves((4, 3), 1.3, 3)


def test_three_branches(teacher):
    branches = [waves((4, 3), 0.1 + 0.3 * index, 2) for index in range(3)]
    loss = self_distillation_loss(branches, teacher).mean()
    assert loss.item() == pytest.approx(0.8652151854, abs=1e-8)


def test_uncertainty():
    expected = torch.tensor(UNCERTAINTIES, dtype=torch.float64)
    torch.testing.assert_close(uncertainty(waves((4, 3), 0.1, 2)), expected, rtol=0, atol=1e-8)


def test_hard_labels_of_the_first_stage(teacher):
    loss = hard_label_loss(teacher, torch.tensor([0, 2, 1, 2])).mean()
    assert loss.item() == pytest.approx(1.9235301597, abs=1e-8)


@pytest.mark.parametrize(
    ("direction", "value", "norm", "first"),
    [
        ("forward", 0.4449560894, 0.2471708695, -0.0980531082),
        ("reverse", 0.5401196670, 0.3129079116, -0.0578155277),
    ],
)
def test_gradient_of_one_branch(teacher, direction, value, norm, first):
    branch = waves((4, 3), 0.1, 2).requires_grad_()
    loss = self_distillation_loss([branch], teacher, direction).mean()
    loss.backward()
    assert loss.item() == pytest.approx(value, abs=1e-8)
    assert branch.grad.norm().item() == pytest.approx(norm, abs=1e-8)
    assert branch.grad[0, 0].item() == pytest.approx(first, abs=1e-8)
