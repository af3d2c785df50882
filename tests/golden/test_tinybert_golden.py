"""What TinyBERT's released code returned on fixed inputs (``task_distill.py`` at commit 0598f02), to 1e-8.

Inputs are sine waves, written out below. Gradients were given for the soft cross entropy; the others are
compared with autograd through the released expression written as loops in
``tests/unit/criteria/test_tinybert_terms.py``.
"""

import math

import pytest
import torch

from cmlm_kd.criteria.layers import layer_map
from cmlm_kd.criteria.tinybert import attention_term, hidden_term, prediction_term

ATTENTION, HIDDEN, TOTAL = 17.0781724009, 2.2384945673, 19.3166669682
ONE_LAYER_OF_SCORES = 5.7797624793
PREDICTION = {1.0: 0.3996133194, 2.0: 0.3751300230}
PREDICTION_GRADIENT = (0.0823902898, -0.0326843694)  # norm and first element at T = 1
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


def scores(count, phase, *, mask_added):
    added = (1.0 - MASK.double())[:, None, None, :] * -1e4 if mask_added else 0.0
    return [waves((2, 2, 4, 4), phase + layer, 3) + added for layer in range(count)]


def states(count, phase):
    return [waves((2, 4, 5), phase + layer, 1) for layer in range(count)]


@pytest.mark.parametrize("mask_added", [True, False], ids=["mask-added-to-scores", "mask-given"])
def test_intermediate_layers(mask_added):
    layers = layer_map("uniform", 2, 4, owner="golden")
    student, teacher = (scores(n, p, mask_added=mask_added) for n, p in ((2, 0.1), (4, 0.5)))
    mask = None if mask_added else MASK
    attention = sum(
        attention_term(student[m - 1], teacher[n - 1], mask, "original").mean() for m, n in layers
    )
    student, teacher = states(3, 0.2), states(5, 0.4)
    hidden = sum(hidden_term(student[m], teacher[n], MASK, "original").mean() for m, n in [(0, 0), *layers])
    assert attention.item() == pytest.approx(ATTENTION, abs=1e-8)
    assert hidden.item() == pytest.approx(HIDDEN, abs=1e-8)
    assert (attention + hidden).item() == pytest.approx(TOTAL, abs=1e-8)


def test_the_threshold_of_the_scores():
    student, teacher = scores(1, 0.1, mask_added=True), scores(2, 0.5, mask_added=True)
    value = attention_term(student[0], teacher[1], None, "original").mean()
    assert value.item() == pytest.approx(ONE_LAYER_OF_SCORES, abs=1e-8)


@pytest.mark.parametrize("temperature", PREDICTION)
def test_prediction(temperature):
    student = waves((4, 3), 0.1, 2).requires_grad_()
    teacher = (waves((4, 3), 1.3, 3) / temperature).softmax(-1)
    value = prediction_term(student, teacher, temperature, "original").mean()
    assert value.item() == pytest.approx(PREDICTION[temperature], abs=1e-8)
    if temperature == 1.0:
        value.backward()
        found = (student.grad.norm().item(), student.grad[0, 0].item())
        assert found == pytest.approx(PREDICTION_GRADIENT, abs=1e-8)
