"""``fastbert_kd``: its sums against the released code's, its gradients, and what it asks for."""

import math

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.criteria.fastbert import FastBERTKD, FastBERTKDConfig
from cmlm_kd.errors import UserError

STUDENT = ModelDescription("student fastbert", labels=("a", "b", "c"))


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


def exits():
    """Three branches and a teacher classifier on four sentences."""
    return torch.stack([*(waves((4, 3), 0.1 + 0.3 * index, 2) for index in range(3)), waves((4, 3), 1.3, 3)])


def make(**settings):
    return FastBERTKD(FastBERTKDConfig(**settings))


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("forward", 4 * 0.8652151854), ("reverse", None)],
)
def test_training_sums_over_sentences(direction, expected):
    logits = exits().requires_grad_()
    target = torch.full((4,), -1)  # texts without labels
    output = make(kd_direction=direction).training_loss(ModelOutput(logits[-1], exits=logits), target, None)
    if expected is None:
        own, wanted = logits.detach().log_softmax(-1), logits.detach()[-1].log_softmax(-1)
        expected = sum(
            float(own[i, b, c].exp() * (own[i, b, c] - wanted[b, c]))
            for i in range(3)
            for b in range(4)
            for c in range(3)
        )
    assert output.loss.item() == pytest.approx(expected, abs=1e-8)
    term = output.terms["kd_loss"]
    assert (term.total.item(), term.count.item()) == (output.loss.item(), 4)
    output.loss.backward()
    assert logits.grad[:3].abs().min() > 0 and not logits.grad[3].any()


def test_validation_is_about_the_branches():
    logits, target = exits(), torch.tensor([0, 2, 1, 2])
    output = make().validation_loss(ModelOutput(logits[-1], exits=logits), target)
    each = [-logits[i].log_softmax(-1)[torch.arange(4), target].sum() for i in range(4)]
    assert output.loss.item() == pytest.approx(float(sum(each[:3]) / 3))
    assert output.terms["hard_loss"].total.item() == pytest.approx(4 * 1.9235301597, abs=1e-8)
    assert output.terms["hard_loss"].total.item() == pytest.approx(float(each[3]))
    assert output.terms["kd_loss"].total.item() == pytest.approx(4 * 0.8652151854, abs=1e-8)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_what_it_asks_for(mode):
    needs = make(kd_mode=mode).needs(STUDENT, None)
    assert needs.student.exits and needs.student.in_validation.exits and needs.teacher is None
    assert needs.teacher_dropout == (mode == "original") and not needs.labels
    with pytest.raises(UserError, match="student scorer predicts a score"):
        make().needs(ModelDescription("student scorer"), None)


def test_its_part_of_a_signature():
    assert FastBERTKDConfig().signature() == "kd:fastbert|mode:paper|direction:forward"
