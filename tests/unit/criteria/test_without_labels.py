"""Losses that read no label: said to the task, and equal to what they are with labels, the hard term "
"apart."""

import pytest
import torch

from cmlm_kd.api.criterion import NO_CLASS, hard_label_loss, labelled
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ATTENTION_SCORES, HIDDEN_STATES, LOGITS, PROBABILITIES, ModelDescription
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria import load_criteria

PROVIDED = frozenset({LOGITS, PROBABILITIES, HIDDEN_STATES, ATTENTION_SCORES})
CLASSES = ModelDescription("classes", PROVIDED, ("a", "b", "c"), 2, 6, 2)
SCORES = ModelDescription("scores", PROVIDED, (), 2, 6, 2)
NOBODY = torch.full((4,), NO_CLASS)


def build(name, **settings):
    load_criteria()
    entry = kd_criteria.get(name)
    return entry.cls(entry.config(**settings), -100)


@pytest.mark.parametrize(
    ("name", "settings", "reads"),
    [
        ("tinybert_kd", {}, False),
        ("tinybert_kd", {"kd_stage": "prediction"}, False),
        ("bilstm_kd", {}, False),
        ("bilstm_kd", {"kd_alpha": 0.5}, True),
        ("bilstm_kd", {"kd_mode": "original"}, False),
        ("bilstm_kd", {"kd_mode": "original", "kd_labels": "gold"}, True),
        ("pkd", {"kd_alpha": 1.0, "kd_beta": 0.0}, False),
        ("pkd", {"kd_alpha": 1.0}, False),
        ("pkd", {"kd_alpha": 0.9}, True),
        ("sentence_classification", {}, True),
        ("mtdnn_kd", {}, True),
    ],
)
def test_which_losses_read_labels(name, settings, reads):
    assert build(name, **settings).needs(CLASSES, CLASSES).labels == reads


@pytest.mark.parametrize(("stage", "reads"), [("prediction", True), ("intermediate", False)])
def test_scores_of_tinybert_are_told_by_the_labels(stage, reads):
    assert build("tinybert_kd", kd_stage=stage).needs(SCORES, SCORES).labels == reads


@pytest.mark.parametrize(
    ("name", "settings", "has_hard_term"),
    [
        ("bilstm_kd", {}, False),
        ("bilstm_kd", {"kd_mode": "original"}, True),
        ("pkd", {"kd_alpha": 1.0, "kd_beta": 0.0}, False),
        ("tinybert_kd", {"kd_stage": "prediction"}, False),
    ],
)
def test_the_loss_is_the_same_without_labels(name, settings, has_hard_term):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, requires_grad=True)
    teacher = TeacherSignal.of_logits(torch.randn(4, 3))
    found = []
    for target in (torch.tensor([0, 2, 1, 0]), NOBODY):
        criterion = build(name, **settings)
        criterion.needs(CLASSES, CLASSES)
        output = criterion.training_loss(ModelOutput(logits=logits), target, teacher)
        (gradient,) = torch.autograd.grad(output.loss, logits)
        found.append((output.loss, gradient, output.terms))
    torch.testing.assert_close(found[0][:2], found[1][:2])
    counts = {term: float(value.count) for term, value in found[1][2].items()}
    assert counts.get("hard_loss", 0) == (4 if has_hard_term else 0), "nothing is logged of what is not known"


def test_a_sentence_without_a_label_costs_nothing():
    logits = torch.randn(2, 3)
    target = torch.tensor([NO_CLASS, 2])
    loss = hard_label_loss(logits, target)
    assert loss[0] == 0 and loss[1] == torch.nn.functional.cross_entropy(logits[1:], target[1:])
    assert labelled(target) == 1 and labelled(torch.rand(3)) == 3
