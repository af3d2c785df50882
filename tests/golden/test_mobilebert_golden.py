"""What MobileBERT's released losses (``run_pretraining.py`` at commit 0c1bbe5, transcribed) give, to 1e-8.

Inputs are sine waves, written out below. The gradient was given for attention transfer; those of the other
terms are compared with autograd through loops in ``tests/unit/criteria/test_mobilebert_transfer.py``.
"""

import math

import pytest
import torch

from cmlm_kd.criteria.mobilebert import distillation_count, distillation_term
from cmlm_kd.criteria.mobilebert_transfer import (
    attention_divergence,
    feature_map_term,
)

FEATURE_MAPS = {"original": 0.5951508191, "paper": 0.6029716052}
ATTENTION = {"original": 0.8992710303, "paper": 0.0934227620}
ATTENTION_GRADIENT = (0.0541872401, -0.0041658736)  # norm and first element, of both
DISTILLATION = 1.6322240118


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


@pytest.mark.parametrize("mode", FEATURE_MAPS)
def test_feature_maps(mode):
    value = feature_map_term(waves((2, 4, 6), 1.2, 0.8), waves((2, 4, 6), 0.4, 1.5), None, mode).mean()
    assert value.item() == pytest.approx(FEATURE_MAPS[mode], abs=1e-8)


@pytest.mark.parametrize("mode", ATTENTION)
def test_attention(mode):
    student = waves((2, 2, 4, 4), 0.1, 3).requires_grad_()
    value = attention_divergence(student, waves((2, 2, 4, 4), 0.5, 3), None, mode).mean()
    assert value.item() == pytest.approx(ATTENTION[mode], abs=1e-8)
    value.backward()
    found = (student.grad.norm().item(), student.grad[0, 0, 0, 0].item())
    assert found == pytest.approx(ATTENTION_GRADIENT, abs=1e-8)


def test_distillation_at_three_of_four_positions():
    student, teacher = waves((4, 3), 0.1, 2), waves((4, 3), 1.3, 3).softmax(-1)
    terms = distillation_term(student, teacher, torch.tensor([0, 2, 1, 2]), hard_share=0.5)
    value = terms[:3].sum() / distillation_count(torch.tensor(3), "original")
    assert value.item() == pytest.approx(DISTILLATION, abs=1e-8)
