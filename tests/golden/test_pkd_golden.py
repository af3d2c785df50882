"""What the original implementation of Patient Knowledge Distillation returns on fixed inputs."""

import math

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.pkd import PKD, PKDConfig, patience_loss

TARGET = torch.tensor([0, 2, 1, 2])
FP16_STEP = 2.0**-13  # at 0.1355; at 0.5425 it is twice that


def g(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


def describe(name, layers=2):
    return ModelDescription(name, labels=("x", "y", "z"), layers=layers, hidden_size=8)


def test_soft_and_hard_labels():
    """Original module, T = 10, alpha = 0.7: value and gradient."""
    criterion = PKD(PKDConfig(kd_temperature=10, kd_alpha=0.7, kd_beta=0))
    criterion.needs(describe("student"), describe("teacher"))
    logits = g((4, 3), 0.1, 2).requires_grad_()
    output = criterion.training_loss(
        ModelOutput(logits=logits), TARGET, TeacherSignal.of_logits(g((4, 3), 1.3, 3))
    )
    output.loss.backward()
    assert output.loss.item() / 4 == pytest.approx(0.7040740992, abs=1e-8)
    assert output.terms["kd_loss"].total.item() / 4 == pytest.approx(0.2321977029, abs=1e-8)
    assert output.terms["hard_loss"].total.item() / 4 == pytest.approx(1.8051190237, abs=1e-8)
    gradient = logits.grad / 4
    assert gradient.norm().item() == pytest.approx(0.1807597366, abs=1e-8)
    assert gradient[0, 0].item() == pytest.approx(-0.0982969812, abs=1e-8)


@pytest.mark.parametrize(
    ("normalize", "mode", "value", "tolerance"),
    [
        (True, "original", 0.1354558306, 1e-8),
        (True, "original", 0.1354980469, FP16_STEP),
        (False, "original", 0.5422695706, 1e-8),
        (False, "original", 0.5424804688, 2 * FP16_STEP),
        (True, "paper", 5.4182332231, 1e-8),
    ],
)
def test_patience(normalize, mode, value, tolerance):
    """The released module's own value is rounded to float16; the formula's in float64 stands beside it."""
    teacher, student = g((4, 5, 8), 0.6, 1), g((4, 5, 8), 1.7, 1)
    loss = patience_loss(student.unbind(1), teacher.unbind(1), normalize=normalize, mode=mode)
    assert loss.mean().item() == pytest.approx(value, abs=tolerance)
