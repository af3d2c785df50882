"""What the MT-DNN repository's own loss expressions return on fixed inputs.

The expressions cast logits to float32, so that values agree to 1e-6. v0.1's have an ensemble's
probabilities for soft labels; the later ``KlCriterion`` and ``MseCriterion`` have one teacher's logits.
"""

import math

import pytest
import torch

from cmlm_kd.criteria.bilstm import logits_mse
from cmlm_kd.criteria.mtdnn import MTDNNKD, MTDNNKDConfig, soft_label_loss
from cmlm_kd.criterion import StudentOutput
from cmlm_kd.signals import TeacherSignal

TARGET = torch.tensor([0, 2, 1, 2])


def g(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


STUDENT, TEACHERS = g((4, 3), 0.1, 2), (g((4, 3), 1.3, 3), g((4, 3), 2.1, 3), g((4, 3), 2.9, 3))


def loss_of(mode, teacher, student=STUDENT):
    return MTDNNKD(MTDNNKDConfig(kd_mode=mode)).training_loss(StudentOutput(logits=student), TARGET, teacher)


def test_an_ensemble_of_three():
    """v0.1: the soft term, and its sum with the hard one."""
    output = loss_of("original", TeacherSignal(TEACHERS))
    assert output.terms["kd_loss"].total.item() / 4 == pytest.approx(0.8311821386, abs=1e-6)
    assert output.loss.item() / 4 == pytest.approx(2.6363011176, abs=1e-6)


def test_the_mean_of_logits_is_another_teacher():
    output = loss_of("original", TeacherSignal(TEACHERS, "logits"))
    assert output.terms["kd_loss"].total.item() / 4 == pytest.approx(0.8978914847, abs=1e-6)


def test_one_teacher():
    """KlCriterion, value and gradient, and what it makes of probabilities instead of logits."""
    logits = STUDENT.clone().requires_grad_()
    loss = soft_label_loss(logits, TEACHERS[0].softmax(-1), "original").mean()
    assert loss.item() == pytest.approx(0.4449561536, abs=1e-6)
    loss.backward()
    assert logits.grad.norm().item() == pytest.approx(0.2471708695, abs=1e-8)
    assert logits.grad[0, 0].item() == pytest.approx(-0.0980531082, abs=1e-8)
    twice = TeacherSignal(TEACHERS).probabilities().softmax(-1)
    assert soft_label_loss(STUDENT, twice, "original").mean().item() == pytest.approx(0.3878324032, abs=1e-6)


def test_squared_error_of_scores():
    """MseCriterion."""
    assert logits_mse(STUDENT, TEACHERS[0]).mean().item() == pytest.approx(4.0262030359, abs=1e-6)


def test_the_paper_averages_what_the_code_adds():
    gradients = {}
    for mode in ("paper", "original"):
        logits = STUDENT.clone().requires_grad_()
        (gradients[mode],) = torch.autograd.grad(
            loss_of(mode, TeacherSignal(TEACHERS), logits).loss, [logits]
        )
    torch.testing.assert_close(2 * gradients["paper"], gradients["original"])
