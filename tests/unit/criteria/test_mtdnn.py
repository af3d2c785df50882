"""The loss of mtdnn_kd against a naive loop, with and without teachers, for classes and scores."""

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import LOGITS, PROBABILITIES, ModelDescription, check_needs
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.mtdnn import MTDNNKD, MTDNNKDConfig
from cmlm_kd.errors import UserError

TARGET = torch.tensor([0, 2, 1, 1, 0])
LABELS = ("a", "b", "c")


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(mode, logits, teacher, target=TARGET):
    return MTDNNKD(MTDNNKDConfig(kd_mode=mode)).training_loss(ModelOutput(logits=logits), target, teacher)


def naive(logits, teachers, mode):
    """One sentence and class at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for i, label in enumerate(TARGET):
        log_norm = sum(score.exp() for score in logits[i]).log()
        hard, soft = log_norm - logits[i][label], torch.zeros((), dtype=torch.float64)
        for c in range(len(LABELS)):
            q = sum(t[i][c].exp() / sum(score.exp() for score in t[i]) for t in teachers) / len(teachers)
            log_p = logits[i][c] - log_norm
            soft = soft + (-q * log_p if mode == "paper" else q * (q.log() - log_p))
        total = total + (hard + soft) * (0.5 if mode == "paper" else 1.0)
    return total


@pytest.mark.parametrize("mode", ["paper", "original"])
@pytest.mark.parametrize("teachers", [1, 3])
def test_value_and_gradient(mode, teachers):
    logits = draw(1, 5, 3).requires_grad_()
    members = tuple(draw(2 + k, 5, 3) for k in range(teachers))
    loss = run(mode, logits, TeacherSignal.of_logits(*members)).loss
    expected = naive(logits, members, mode)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], torch.autograd.grad(expected, logits)[0])


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_without_a_teacher_hard_labels_have_full_weight(mode):
    logits = draw(1, 5, 3)
    output = run(mode, logits, None)
    torch.testing.assert_close(
        output.loss, torch.nn.functional.cross_entropy(logits, TARGET, reduction="sum")
    )
    assert output.terms["kd_loss"].count == 0 and set(output.terms) == {"hard_loss", "kd_loss"}


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_batches_add_up(mode):
    logits, teacher = draw(1, 5, 3), draw(2, 5, 3)
    whole = run(mode, logits, TeacherSignal.of_logits(teacher)).loss
    parts = [
        run(mode, logits[rows], TeacherSignal.of_logits(teacher[rows]), TARGET[rows]).loss
        for rows in (slice(0, 2), slice(2, 5))
    ]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize(("mode", "weight"), [("paper", 0.5), ("original", 1.0)])
def test_scores(mode, weight):
    logits, scores = draw(1, 5, 1), draw(2, 5)
    teacher = TeacherSignal.of_logits(draw(3, 5, 1), draw(4, 5, 1), ensembling="logits")
    mean = (draw(3, 5, 1) + draw(4, 5, 1)) / 2
    expected = ((logits[:, 0] - scores) ** 2).sum() + ((logits - mean) ** 2).sum()
    torch.testing.assert_close(run(mode, logits, teacher, scores).loss, weight * expected)


def test_a_teacher_that_agrees_pulls_nowhere():
    logits = draw(1, 5, 3).requires_grad_()
    output = run("original", logits, TeacherSignal.of_logits(logits.detach()))
    assert output.terms["kd_loss"].total.item() == pytest.approx(0, abs=1e-12)


def test_half_precision_is_widened():
    logits, teacher = draw(1, 5, 3).bfloat16(), TeacherSignal.of_logits(draw(2, 5, 3).float())
    loss = run("paper", logits, teacher).loss
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(run("paper", logits.double(), teacher).loss.item(), rel=1e-5)


def test_what_is_read_of_whom():
    criterion = MTDNNKD(MTDNNKDConfig())
    student, scorer = ModelDescription("student", labels=LABELS), ModelDescription("scorer")
    ensemble = ModelDescription("ensemble", frozenset({PROBABILITIES}), LABELS)
    check_needs("mtdnn_kd", criterion.needs(student, ensemble), student, ensemble)
    needs = criterion.needs(scorer, ensemble)
    with pytest.raises(UserError, match="reads the logits of a teacher, which ensemble does not give"):
        check_needs("mtdnn_kd", needs, scorer, ensemble)
    teacher = ModelDescription("teacher", frozenset({LOGITS}))
    check_needs("mtdnn_kd", needs, scorer, teacher)
    with pytest.raises(UserError, match="mtdnn_kd: student has no teacher to learn from"):
        check_needs("mtdnn_kd", criterion.needs(student, None), student, None)


@pytest.mark.parametrize("divergence", ["kl", "sym_kl", "js"])
@pytest.mark.parametrize("ensembling", ["probabilities", "logits"])
def test_a_teacher_surer_than_a_probability_can_say(divergence, ensembling):
    """e^-200 is 0 in float32; its logarithm is not."""
    teachers = [torch.tensor([[100.0, -100.0, 0.0]]), torch.tensor([[120.0, -90.0, -80.0]])]
    student = torch.tensor([[0.3, -0.2, 0.1]])
    values = []
    for dtype in (torch.float32, torch.float64):
        config = MTDNNKDConfig(kd_divergence=divergence)
        signal = TeacherSignal.of_logits(*(each.to(dtype) for each in teachers), ensembling=ensembling)
        output = MTDNNKD(config).training_loss(
            ModelOutput(logits=student.to(dtype)), torch.tensor([0]), signal
        )
        values.append(output.terms["kd_loss"].total.item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize(("mode", "divergence"), [("paper", "kl"), ("original", "kl"), ("original", "js")])
def test_a_class_that_the_teacher_rules_out_is_no_nan(mode, divergence):
    logits = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
    signal = TeacherSignal.of_logits(torch.tensor([[1.0, float("-inf"), 0.5]]))
    config = MTDNNKDConfig(kd_mode=mode, kd_divergence=divergence)
    output = MTDNNKD(config).training_loss(ModelOutput(logits=logits), torch.tensor([0]), signal)
    output.loss.backward()
    if divergence == "kl":  # js compares a mean that is above 0 there with 0: it is infinite
        assert torch.isfinite(output.loss)
    assert torch.isfinite(logits.grad).all()
