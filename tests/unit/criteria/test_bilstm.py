"""``bilstm_kd``: its modes against naive loops, value and gradient, and what it refuses."""

import math

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.bilstm import BiLSTMKD, BiLSTMKDConfig
from cmlm_kd.errors import UserError

SENTENCES, CLASSES = 5, 3


@pytest.fixture
def logits():
    torch.manual_seed(3)
    return (2 * torch.randn(SENTENCES, CLASSES, dtype=torch.float64)).requires_grad_()


@pytest.fixture
def teacher():
    torch.manual_seed(4)
    return TeacherSignal.of_logits(3 * torch.randn(SENTENCES, CLASSES, dtype=torch.float64))


TARGET = torch.tensor([0, 2, 1, 1, 0])


def naive_log_softmax(row):
    normaliser = math.log(sum(math.exp(value) for value in row))
    return [value - normaliser for value in row]


def naive_loss(student, teacher, labels, mode, alpha, temperature):
    """The module's equations, one number at a time."""
    total = 0.0
    for z, t, y in zip(student.tolist(), teacher.tolist(), labels, strict=True):
        mse = sum((a - b) ** 2 for a, b in zip(z, t, strict=True)) / len(z)
        p = naive_log_softmax([value / temperature for value in t])
        q = naive_log_softmax([value / temperature for value in z])
        kl = sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
        hard = -naive_log_softmax(z)[y]
        total += {
            "paper": alpha * hard + (1 - alpha) * mse,
            "original": hard + mse,
            "original_pairs": hard + kl,
        }[mode]
    return total


@pytest.mark.parametrize("labels", ["gold", "teacher"])
@pytest.mark.parametrize(
    "mode, alpha",
    [("paper", 0.0), ("paper", 0.3), ("paper", 1.0), ("original", 0.0), ("original_pairs", 0.0)],
)
def test_value_and_gradient_against_a_loop(logits, teacher, mode, alpha, labels):
    config = BiLSTMKDConfig(kd_mode=mode, kd_alpha=alpha, kd_labels=labels, kd_temperature=2.5)
    output = BiLSTMKD(config).training_loss(ModelOutput(logits=logits), TARGET, teacher)
    output.loss.backward()
    true = TARGET.tolist() if labels == "gold" else teacher.logits.argmax(-1).tolist()

    def loss(values):
        return naive_loss(values, teacher.logits, true, mode, alpha, 2.5)

    assert output.loss.item() == pytest.approx(loss(logits), abs=1e-10)
    numeric = torch.zeros_like(logits)
    for i in range(SENTENCES):
        for j in range(CLASSES):
            step = torch.zeros_like(logits)
            step[i, j] = 1e-5
            numeric[i, j] = (loss(logits.detach() + step) - loss(logits.detach() - step)) / 2e-5
    torch.testing.assert_close(logits.grad, numeric, atol=1e-7, rtol=1e-6)


def test_where_hard_labels_come_from():
    assert BiLSTMKDConfig().labels == "gold"
    assert BiLSTMKDConfig(kd_mode="original").labels == "teacher"
    assert BiLSTMKDConfig(kd_mode="original", kd_labels="gold").labels == "gold"


def test_terms_are_named_and_counted_a_sentence(logits, teacher):
    output = BiLSTMKD(BiLSTMKDConfig()).training_loss(ModelOutput(logits=logits), TARGET, teacher)
    assert set(output.terms) == {"mse_loss", "hard_loss"}
    assert output.terms["mse_loss"].count == SENTENCES
    assert output.loss.item() == pytest.approx(output.terms["mse_loss"].total.item())
    assert output.terms["hard_loss"].total > 0


def test_order_and_split_of_a_batch_do_not_matter(logits, teacher):
    criterion = BiLSTMKD(BiLSTMKDConfig(kd_mode="original"))

    def loss(rows):
        signal = TeacherSignal.of_logits(teacher.logits[rows])
        return criterion.training_loss(ModelOutput(logits=logits[rows]), TARGET[rows], signal).loss.item()

    whole = loss(list(range(SENTENCES)))
    assert loss([3, 1, 4, 0, 2]) == pytest.approx(whole)
    assert loss([0, 1]) + loss([2, 3, 4]) == pytest.approx(whole)


def test_half_precision_logits_are_widened(logits, teacher):
    criterion = BiLSTMKD(BiLSTMKDConfig())
    half = TeacherSignal.of_logits(teacher.logits.half())
    output = criterion.training_loss(ModelOutput(logits=logits.half()), TARGET, half)
    assert output.loss.dtype == torch.float32


def test_scores():
    scores, target = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 2.0])
    teacher = TeacherSignal.of_logits(torch.tensor([[3.0], [4.5]]))
    config = BiLSTMKDConfig(kd_alpha=0.25)
    output = BiLSTMKD(config).training_loss(ModelOutput(logits=scores), target, teacher)
    assert output.loss.item() == pytest.approx(0.75 * (4 + 0.25) + 0.25 * (1 + 4))


def test_an_ensemble_of_probabilities_serves_pairs_alone():
    student = ModelDescription("student x", labels=("a", "b"))
    assert BiLSTMKD(BiLSTMKDConfig()).needs(student, None).teacher_values == "logits"
    pairs = BiLSTMKD(BiLSTMKDConfig(kd_mode="original_pairs"))
    assert pairs.needs(student, None).teacher_values == "probabilities"


def test_scores_are_refused_where_the_released_code_has_no_teacher():
    with pytest.raises(UserError, match=r"student x predicts scores.*--kd-mode paper"):
        BiLSTMKD(BiLSTMKDConfig(kd_mode="original")).needs(ModelDescription("student x"), None)


def test_no_teacher(logits):
    with pytest.raises(UserError, match=r"carries no teacher.*--teacher DIR"):
        BiLSTMKD(BiLSTMKDConfig()).training_loss(ModelOutput(logits=logits), TARGET, None)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kd_alpha": 1.5}, r"--kd-alpha is 1.5; it must be in \[0, 1\]"),
        ({"kd_temperature": 0.0}, "--kd-temperature is 0.0; it must be above 0"),
        ({"kd_mode": "original", "kd_alpha": 0.5}, "belongs to --kd-mode paper"),
    ],
)
def test_values_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        BiLSTMKDConfig(**settings)


def test_it_is_registered():
    assert kd_criteria.get("bilstm_kd").cls is BiLSTMKD


@pytest.mark.parametrize(
    ("settings", "signature"),
    [
        ({}, "kd:bilstm|mode:paper|alpha:0"),
        ({"kd_alpha": 0.5}, "kd:bilstm|mode:paper|alpha:0.5|labels:gold"),
        ({"kd_mode": "original"}, "kd:bilstm|mode:original|labels:teacher"),
        ({"kd_mode": "original_pairs"}, "kd:bilstm|mode:original_pairs|T:3|labels:teacher"),
    ],
)
def test_signature(settings, signature):
    assert BiLSTMKDConfig(**settings).signature() == signature
