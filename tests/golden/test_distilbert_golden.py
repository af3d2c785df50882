"""What ``Distiller.step`` of DistilBERT's released code returned on fixed inputs (commit fccd0cd), to 1e-8.

Inputs are sine waves, written out below. The gradient of the divergence was given for other logits; those of
the other terms are compared with autograd through loops in ``tests/unit/criteria/test_distilbert_terms.py``.
"""

import math

import pytest
import torch

from cmlm_kd.criteria.distilbert import cosine_term, kl_term, logits_mse_term, mlm_term

TEMPERATURE = 2.0
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = torch.full((2, 5), -100)
LABELS[0, 1], LABELS[0, 4], LABELS[1, 2] = 3, 6, 0
ROWS = {  # masked_only -> ce, mlm, mse, cos, 5 ce + 2 mlm + cos
    False: (0.5060577257, 2.7519571255, 9.1704623726, 0.2936796908, 8.3278825702),
    True: (0.4479023757, 2.7519571255, 9.0139558990, 0.2936796908, 8.0371058204),
}


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


@pytest.mark.parametrize("masked_only", ROWS)
def test_every_term(masked_only):
    student, teacher = waves((2, 5, 7), 0.2, 2), waves((2, 5, 7), 0.9, 2.5)
    states = waves((2, 5, 6), 0.3, 1), waves((2, 5, 6), 1.1, 1)
    masked, real = LABELS != -100, MASK.bool()
    chosen = masked if masked_only else real
    kl = kl_term(student[chosen], teacher[chosen], TEMPERATURE).mean()
    mlm = mlm_term(student[masked], LABELS[masked]).mean()
    mse = logits_mse_term(student[chosen], teacher[chosen]).mean()
    cosine = cosine_term(*(hidden[real] for hidden in states)).mean()
    found = [value.item() for value in (kl, mlm, mse, cosine, 5 * kl + 2 * mlm + cosine)]
    assert found == pytest.approx(ROWS[masked_only], abs=1e-8)


def test_gradient_of_the_divergence():
    student = waves((4, 3), 0.1, 2).requires_grad_()
    kl_term(student, waves((4, 3), 1.3, 3), 2.0).mean().backward()
    found = (student.grad.norm().item(), student.grad[0, 0].item())
    assert found == pytest.approx((0.3021080437, -0.1168432484), abs=1e-8)


def test_temperature_4_as_other_toolkits_compute_it():
    """``batchmean`` of one pair of logits at T = 4, with T^2 and, as torchdistill and TRL do it, without."""
    value = kl_term(waves((4, 3), 0.1, 2), waves((4, 3), 1.3, 3), 4.0).mean()
    assert value.item() == pytest.approx(0.6618373770, abs=1e-8)
    assert value.item() / 16 == pytest.approx(0.0413648361, abs=1e-8)
