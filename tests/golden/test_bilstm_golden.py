"""The losses of the original BiLSTM code, value and gradient (provenance in bilstm_loss.json)."""

import json
import math
from pathlib import Path

import pytest
import torch

from cmlm_kd.api.criterion import hard_label_loss
from cmlm_kd.criteria.bilstm import logits_mse, tempered_kl

GOLDEN = json.loads((Path(__file__).parent / "bilstm_loss.json").read_text())
LABELS = torch.tensor([0, 2, 1, 2])


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


@pytest.fixture
def student():
    return waves((4, 3), 0.1, 2).requires_grad_()


@pytest.fixture
def teacher():
    return waves((4, 3), 1.3, 3)


def test_mse(student, teacher):
    assert logits_mse(student, teacher).mean().item() == pytest.approx(GOLDEN["mse"], abs=1e-8)


def test_mse_and_hard_labels(student, teacher):
    loss = (logits_mse(student, teacher) + hard_label_loss(student, LABELS)).mean()
    loss.backward()
    assert loss.item() == pytest.approx(GOLDEN["mse_and_ce"], abs=1e-8)
    assert student.grad.norm().item() == pytest.approx(GOLDEN["mse_and_ce_gradient"]["norm"], abs=1e-8)
    assert student.grad[0, 0].item() == pytest.approx(GOLDEN["mse_and_ce_gradient"]["first"], abs=1e-8)


def test_divergence_of_pairs(student, teacher):
    loss = tempered_kl(student, (teacher / 3).softmax(-1), temperature=3).mean()
    assert loss.item() == pytest.approx(GOLDEN["siamese_kl"], abs=1e-8)
