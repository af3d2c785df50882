"""The loss of pkd against a naive loop, and the pairs it refuses."""

import dataclasses
import math

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import HIDDEN_STATES, LOGITS, PROBABILITIES, ModelDescription
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.pkd import PKD, PKDConfig
from cmlm_kd.errors import UserError

SENTENCES, CLASSES, WIDTH = 5, 3, 6
PROVIDED = frozenset({LOGITS, PROBABILITIES, HIDDEN_STATES})
STUDENT = ModelDescription("student small", PROVIDED, ("a", "b", "c"), 3, WIDTH, 2)
TEACHER = ModelDescription("teacher large", PROVIDED, ("a", "b", "c"), 6, WIDTH, 2)
TARGET = torch.tensor([0, 2, 1, 1, 0])


def values(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw


def inputs(seed=1):
    draw = values(seed)
    student = [
        draw(SENTENCES, CLASSES).requires_grad_(),
        *(draw(SENTENCES, WIDTH).requires_grad_() for _ in "12"),
    ]
    teacher = TeacherSignal(
        (
            ModelOutput(
                logits=draw(SENTENCES, CLASSES),
                hidden_states={2: draw(SENTENCES, WIDTH), 4: draw(SENTENCES, WIDTH)},
            ),
        )
    )
    return student, teacher


def build(**settings):
    criterion = PKD(PKDConfig(**settings))
    criterion.needs(STUDENT, TEACHER)
    return criterion


def output_of(tensors):
    return ModelOutput(logits=tensors[0], hidden_states={1: tensors[1], 2: tensors[2]})


def naive(tensors, teacher, config):
    """One sentence, class, layer and dimension at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(SENTENCES):
        scores, wanted = tensors[0][i], teacher.members[0][i]
        hard = -torch.log(scores[TARGET[i]].exp() / sum(score.exp() for score in scores))
        soft = torch.zeros((), dtype=torch.float64)
        norm_s = sum((score / config.kd_temperature).exp() for score in scores)
        norm_t = sum((score / config.kd_temperature).exp() for score in wanted)
        for c in range(CLASSES):
            p = (scores[c] / config.kd_temperature).exp() / norm_s
            q = (wanted[c] / config.kd_temperature).exp() / norm_t
            soft = soft + (
                q * (q.log() - p.log()) / CLASSES if config.kd_mode == "original" else -q * p.log()
            )
        patience = torch.zeros((), dtype=torch.float64)
        for own, other in (
            (tensors[1][i], teacher.hidden_states[2][i]),
            (tensors[2][i], teacher.hidden_states[4][i]),
        ):
            if not config.kd_unnormalized:
                own, other = own / own.square().sum().sqrt(), other / other.square().sum().sqrt()
            patience = patience + sum((own[d] - other[d]) ** 2 for d in range(WIDTH))
        if config.kd_mode == "original":
            patience = patience / (2 * WIDTH)
        alpha = config.kd_alpha
        total = (
            total + (1 - alpha) * hard + alpha * config.kd_temperature**2 * soft + config.kd_beta * patience
        )
    return total


@pytest.mark.parametrize("mode", ["original", "paper"])
@pytest.mark.parametrize("unnormalized", [False, True])
def test_value_and_gradient(mode, unnormalized):
    criterion = build(kd_mode=mode, kd_unnormalized=unnormalized, kd_temperature=4, kd_alpha=0.3, kd_beta=7)
    tensors, teacher = inputs()
    loss = criterion.training_loss(output_of(tensors), TARGET, teacher).loss
    expected = naive(tensors, teacher, criterion.config)
    torch.testing.assert_close(loss, expected)
    for actual, wanted in zip(
        torch.autograd.grad(loss, tensors), torch.autograd.grad(expected, tensors), strict=True
    ):
        torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize("mode", ["original", "paper"])
def test_batches_add_up(mode):
    """So gradient accumulation and the size of batches leave the result unchanged."""
    criterion = build(kd_mode=mode)
    tensors, teacher = inputs()
    whole = criterion.training_loss(output_of(tensors), TARGET, teacher).loss
    parts = []
    for rows in (slice(0, 2), slice(2, 5)):
        part = TeacherSignal(
            (
                ModelOutput(
                    logits=teacher.members[0][rows],
                    hidden_states={layer: states[rows] for layer, states in teacher.hidden_states.items()},
                ),
            )
        )
        own = [tensor[rows] for tensor in tensors]
        parts.append(criterion.training_loss(output_of(own), TARGET[rows], part).loss)
    torch.testing.assert_close(sum(parts), whole)


def test_limits():
    tensors, teacher = inputs()
    hard = torch.nn.functional.cross_entropy(tensors[0], TARGET, reduction="sum")
    student = output_of(tensors)
    torch.testing.assert_close(
        build(kd_alpha=0, kd_beta=0).training_loss(student, TARGET, teacher).loss, hard
    )
    same = TeacherSignal(
        (
            ModelOutput(
                logits=tensors[0].detach(), hidden_states={2: tensors[1].detach(), 4: tensors[2].detach()}
            ),
        )
    )
    agreed = build(kd_alpha=1).training_loss(student, TARGET, same)
    assert agreed.loss.item() == pytest.approx(0, abs=1e-12)
    assert all(g.norm() < 1e-9 for g in torch.autograd.grad(agreed.loss, tensors))


def test_at_temperature_1_original_is_the_mean_of_kl():
    tensors, teacher = inputs()
    output = build(kd_temperature=1, kd_beta=0).training_loss(output_of(tensors), TARGET, teacher)
    kl = (
        torch.nn.functional.kl_div(tensors[0].log_softmax(-1), teacher.probabilities(1.0), reduction="sum")
        / CLASSES
    )
    assert output.terms["kd_loss"].total.item() == pytest.approx(kl.item())


def test_an_ensemble_teaches_its_mean_probabilities():
    tensors, teacher = inputs()
    second = values(9)(SENTENCES, CLASSES)
    criterion = build(kd_beta=0, kd_temperature=3)
    loss = criterion.training_loss(
        output_of(tensors), TARGET, TeacherSignal.of_logits(teacher.members[0], second)
    ).loss
    mean = ((teacher.members[0] / 3).softmax(-1) + (second / 3).softmax(-1)) / 2
    same = criterion.training_loss(output_of(tensors), TARGET, TeacherSignal.of_logits(3 * mean.log())).loss
    torch.testing.assert_close(loss, same)


def test_bfloat16_students_are_widened():
    tensors, teacher = inputs()
    narrow = [tensor.detach().bfloat16() for tensor in tensors]
    teacher = TeacherSignal(
        (
            ModelOutput(
                logits=teacher.members[0].float(),
                hidden_states={layer: states.float() for layer, states in teacher.hidden_states.items()},
            ),
        )
    )
    loss = build().training_loss(output_of(narrow), TARGET, teacher).loss
    expected = build().training_loss(output_of([tensor.double() for tensor in narrow]), TARGET, teacher).loss
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "rule", "own", "wanted"),
    [
        (6, 12, "skip", (1, 2, 3, 4, 5), (2, 4, 6, 8, 10)),
        (6, 12, "last", (1, 2, 3, 4, 5), (7, 8, 9, 10, 11)),
        (3, 12, "skip", (1, 2), (4, 8)),
        (3, 12, "last", (1, 2), (10, 11)),
        (2, 6, "skip", (1,), (3,)),
        (3, 12, "5,5", (1, 2), (5,)),
        (4, 12, "1:2,3:8", (1, 3), (2, 8)),
    ],
)
def test_layers_that_are_asked_for(student, teacher, rule, own, wanted):
    """methods.md section 5.1; the last layer of the student learns from the logits."""
    criterion = PKD(PKDConfig(kd_layer_map=rule))
    needs = criterion.needs(
        dataclasses.replace(STUDENT, layers=student), dataclasses.replace(TEACHER, layers=teacher)
    )
    assert (needs.student.hidden_states, needs.teacher.hidden_states) == (own, wanted)
    assert needs.student.first_position and needs.teacher.first_position
    assert not needs.student.attention_scores and needs.teacher_values == "probabilities"


def test_beta_0_asks_for_logits_alone():
    needs = PKD(PKDConfig(kd_beta=0)).needs(STUDENT, dataclasses.replace(TEACHER, layers=0, hidden_size=3))
    assert needs.student.hidden_states == needs.teacher.hidden_states == ()


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ({"labels": ()}, {"labels": ()}, r"student small and teacher large predict scores; take tinybert_kd"),
        ({"hidden_size": 4}, {}, "student small is 4 wide, teacher large 6.*--kd-beta 0.*tinybert_kd"),
        ({"layers": 0}, {}, "student small has no layers to compare .*--kd-beta 0"),
        ({}, {"layers": 0}, "teacher large has no layers to compare"),
        ({"layers": 1}, {}, "no layer of the student would learn"),
        ({"layers": 8}, {}, "the student is deeper than its teacher"),
    ],
)
def test_pairs_that_do_not_fit(student, teacher, message):
    with pytest.raises(UserError, match=message):
        PKD(PKDConfig()).needs(
            dataclasses.replace(STUDENT, **student), dataclasses.replace(TEACHER, **teacher)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_alpha": 1.5}, r"--kd-alpha is 1.5; it must be in \[0, 1\]"),
        ({"kd_temperature": 0}, "--kd-temperature is 0; it must be above 0"),
        ({"kd_temperature": math.inf}, "--kd-temperature is inf; it must be above 0"),
        ({"kd_beta": -1}, "--kd-beta is -1; it must be 0 or more"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        PKDConfig(**settings)


def test_a_batch_without_teacher_is_refused():
    with pytest.raises(UserError, match=r"carries no teacher.*--teacher DIR"):
        build().training_loss(output_of(inputs()[0]), TARGET, None)


def test_signature():
    assert PKDConfig().signature() == "kd:pkd|mode:original|T:10|alpha:0.7|beta:500|layers:skip|norm:True"
    assert PKDConfig(kd_beta=0).signature() == "kd:pkd|mode:original|T:10|alpha:0.7|beta:0"
