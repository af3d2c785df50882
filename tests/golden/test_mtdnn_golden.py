"""What the MT-DNN repository's own loss expressions return on fixed inputs.

The expressions cast logits to float32, so that values agree to 1e-6. v0.1's have an ensemble's
probabilities for soft labels; the later ``KlCriterion`` and ``MseCriterion`` have one teacher's logits.
"""

import math

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.bilstm import logits_mse
from cmlm_kd.criteria.mtdnn import DIVERGENCES, MTDNNKD, MTDNNKDConfig, soft_label_loss

TARGET = torch.tensor([0, 2, 1, 2])


def g(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


STUDENT, TEACHERS = g((4, 3), 0.1, 2), (g((4, 3), 1.3, 3), g((4, 3), 2.1, 3), g((4, 3), 2.9, 3))


def loss_of(mode, teacher, student=STUDENT):
    return MTDNNKD(MTDNNKDConfig(kd_mode=mode)).training_loss(ModelOutput(logits=student), TARGET, teacher)


def test_an_ensemble_of_three():
    """v0.1: the soft term, and its sum with the hard one."""
    output = loss_of("original", TeacherSignal.of_logits(*TEACHERS))
    assert output.terms["kd_loss"].total.item() / 4 == pytest.approx(0.8311821386, abs=1e-6)
    assert output.loss.item() / 4 == pytest.approx(2.6363011176, abs=1e-6)


def test_the_mean_of_logits_is_another_teacher():
    output = loss_of("original", TeacherSignal.of_logits(*TEACHERS, ensembling="logits"))
    assert output.terms["kd_loss"].total.item() / 4 == pytest.approx(0.8978914847, abs=1e-6)


def test_one_teacher():
    """KlCriterion, value and gradient, and what it makes of probabilities instead of logits."""
    logits = STUDENT.clone().requires_grad_()
    loss = soft_label_loss(logits, TEACHERS[0].log_softmax(-1), "original").mean()
    assert loss.item() == pytest.approx(0.4449561536, abs=1e-6)
    loss.backward()
    assert logits.grad.norm().item() == pytest.approx(0.2471708695, abs=1e-8)
    assert logits.grad[0, 0].item() == pytest.approx(-0.0980531082, abs=1e-8)
    twice = TeacherSignal.of_logits(*TEACHERS).probabilities().log_softmax(-1)
    assert soft_label_loss(STUDENT, twice, "original").mean().item() == pytest.approx(0.3878324032, abs=1e-6)


def naive(name, logits, probs):
    """One sentence and class at a time; numbers taken out of the graph are those that the code detaches."""

    def kl(first, second):
        return sum(a * (a.log() - b.log()) for a, b in zip(first, second, strict=True))

    def log_odds(x):
        return -(1 / (x + 1e-6) - 1 + 1e-6).log()

    def stable(weights, first, second):
        return sum(
            2 * w * (log_odds(a) - log_odds(b)) for w, a, b in zip(weights, first, second, strict=True)
        )

    def one(row, q):
        p = [score.exp() / sum(other.exp() for other in row) for score in row]
        fixed = [value.detach() for value in p]
        middle = [(a + b) / 2 for a, b in zip(fixed, q, strict=True)]
        return {
            "kl": lambda: kl(q, p),
            "sym_kl": lambda: kl(q, p) + kl(fixed, q),
            "ns_kl": lambda: stable(p, fixed, q),
            "ns_sym_kl": lambda: stable(p, fixed, q) + stable(q, q, fixed),
            "js": lambda: kl(middle, p) + kl(middle, q),
            "hl": lambda: sum((a.sqrt() - b.sqrt()) ** 2 for a, b in zip(fixed, q, strict=True)) / len(q),
        }[name]()

    return sum(one(row, q) for row, q in zip(logits, probs, strict=True)) / len(logits)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kl", 0.4449561536),
        ("ns_kl", 1.0619096756),
        ("sym_kl", 0.9850758314),
        ("ns_sym_kl", 2.8327732086),
        ("js", 0.2747242451),
        ("hl", 0.0769267008),
    ],
)
def test_divergences_of_later_versions(name, expected):
    """KlCriterion, NsKlCriterion, SymKlCriterion, NsSymKlCriterion, JSCriterion and HLCriterion."""
    probs, logits = TEACHERS[0].softmax(-1), STUDENT.clone().requires_grad_()
    loss = DIVERGENCES[name](logits, probs.log()).mean()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loop = naive(name, logits, probs)
    torch.testing.assert_close(loss, loop)
    if name == "hl":
        assert not loss.requires_grad
    else:
        torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(loop, logits))


@pytest.mark.parametrize("name", ["js", "hl"])
def test_a_chosen_divergence_is_trained_on(name):
    config = MTDNNKDConfig(kd_divergence=name)
    logits = STUDENT.clone().requires_grad_()
    output = MTDNNKD(config).training_loss(
        ModelOutput(logits=logits), TARGET, TeacherSignal.of_logits(*TEACHERS[:1])
    )
    divergence = DIVERGENCES[name](STUDENT, TEACHERS[0].log_softmax(-1)).sum()
    torch.testing.assert_close(output.terms["kd_loss"].total, divergence)
    hard = output.terms["hard_loss"].total
    torch.testing.assert_close(output.loss.detach(), (hard + divergence) / 2)
    output.loss.backward()  # hard labels have one, whatever the divergence
    assert logits.grad.norm() > 0 and config.signature().endswith(f"divergence:{name}")


def test_squared_error_of_scores():
    """MseCriterion."""
    assert logits_mse(STUDENT, TEACHERS[0]).mean().item() == pytest.approx(4.0262030359, abs=1e-6)


def test_the_paper_averages_what_the_code_adds():
    gradients = {}
    for mode in ("paper", "original"):
        logits = STUDENT.clone().requires_grad_()
        (gradients[mode],) = torch.autograd.grad(
            loss_of(mode, TeacherSignal.of_logits(*TEACHERS), logits).loss, [logits]
        )
    torch.testing.assert_close(2 * gradients["paper"], gradients["original"])
