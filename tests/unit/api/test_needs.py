"""What a criterion reads and what the models can give: pairs that do not fit are refused with both named."""

import dataclasses

import pytest
import torch

from cmlm_kd.api.criterion import CriterionOutput, SentenceCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    HIDDEN_STATES,
    LOGITS,
    PROBABILITIES,
    ModelDescription,
    Needs,
    Request,
    check_needs,
)
from cmlm_kd.errors import UserError

EVERYTHING = frozenset({LOGITS, PROBABILITIES, HIDDEN_STATES, ATTENTION_SCORES})
STUDENT = ModelDescription("student small", EVERYTHING, ("a", "b"), 2, 8, 2, "same")
TEACHER = ModelDescription("teacher large", EVERYTHING, ("a", "b"), 4, 8, 2, "same")


def without(description, *what):
    return dataclasses.replace(description, provides=description.provides - set(what))


@pytest.mark.parametrize(
    "needs",
    [
        Needs(),
        Needs(teacher=Request()),
        Needs(Request((0, 2)), Request((0, 4))),
        Needs(Request((1,), attention_scores=(1, 2)), Request((2,), attention_scores=(4,))),
        Needs(teacher=Request(), teacher_values="logits"),
    ],
)
def test_what_fits_is_accepted(needs):
    check_needs("some_kd", needs, STUDENT, TEACHER)


def test_a_criterion_without_teacher_asks_for_none():
    check_needs("some_kd", Needs(), STUDENT, None)


@pytest.mark.parametrize(
    ("needs", "student", "teacher", "message"),
    [
        (Needs(teacher=Request()), STUDENT, None, "some_kd: student small has no teacher.*--teacher DIR"),
        (
            Needs(Request((1,))),
            without(STUDENT, HIDDEN_STATES),
            TEACHER,
            "some_kd: reads hidden states, which student small does not give .*teacher large",
        ),
        (
            Needs(teacher=Request(attention_scores=(1,))),
            STUDENT,
            without(TEACHER, ATTENTION_SCORES),
            "reads attention scores, which teacher large does not give .student small",
        ),
        (Needs(Request((3,))), STUDENT, TEACHER, "hidden states of layer 3 of student small, .* 0 to 2"),
        (
            Needs(teacher=Request(attention_scores=(0, 5))),
            STUDENT,
            TEACHER,
            "layer 0, 5 of teacher large, which has layers 1 to 4",
        ),
        (
            Needs(teacher=Request(), teacher_values="logits"),
            STUDENT,
            without(TEACHER, LOGITS),
            "reads the logits of a teacher, which teacher large does not give.*--ensemble logits",
        ),
    ],
)
def test_what_does_not_fit_is_refused(needs, student, teacher, message):
    with pytest.raises(UserError, match=message):
        check_needs("some_kd", needs, student, teacher)


def test_another_tokenizer_is_refused_where_positions_are_compared():
    foreign = dataclasses.replace(TEACHER, tokenizer="other")
    for needs in (
        Needs(Request((1,)), Request((2,))),
        Needs(Request(attention_scores=(1,)), Request(attention_scores=(1,))),
    ):
        with pytest.raises(UserError, match="student small and teacher large position by position"):
            check_needs("some_kd", needs, STUDENT, foreign)


def test_another_tokenizer_is_allowed_where_logits_or_first_positions_are_read():
    foreign = dataclasses.replace(TEACHER, tokenizer="other")
    check_needs("some_kd", Needs(teacher=Request()), STUDENT, foreign)
    check_needs("some_kd", Needs(Request((1,), True), Request((2,), True)), STUDENT, foreign)


def test_weighted_terms_divide_by_their_own_counts():
    values = torch.tensor([3.0, 8.0], requires_grad=True)
    terms = {
        "a_loss": Term(values[0], torch.tensor(2)),
        "b_loss": Term(values[1], torch.tensor(4)),
        "shown": Term(values.sum(), torch.tensor(1)),
    }
    output = CriterionOutput.weighted({"a_loss": 1.0, "b_loss": 0.5}, terms, 6)
    assert output.loss.item() == 6 * (3 / 2 + 0.5 * 8 / 4)
    output.loss.backward()
    assert values.grad.tolist() == [6 / 2, 6 * 0.5 / 4]
    assert output.terms["shown"].total.item() == 11 and not output.terms["a_loss"].total.requires_grad


def test_a_term_that_counts_nothing_adds_nothing():
    terms = {
        "a_loss": Term(torch.tensor(0.0), torch.tensor(0)),
        "b_loss": Term(torch.tensor(2.0), torch.tensor(1)),
    }
    assert CriterionOutput.weighted({"a_loss": 1.0, "b_loss": 1.0}, terms, 3).loss.item() == 6.0


class Plain(SentenceCriterion):
    def training_loss(self, student, target, teacher):
        raise NotImplementedError


def test_validation_compares_by_hard_labels():
    logits = torch.tensor([[1.0, 3.0], [0.5, 0.0]], dtype=torch.float64)
    output = Plain(None).validation_loss(ModelOutput(logits=logits), torch.tensor([1, 1]))
    expected = -(logits.log_softmax(-1)[0, 1] + logits.log_softmax(-1)[1, 1])
    torch.testing.assert_close(output.loss, expected)
    assert output.terms["hard_loss"].count == 2


def test_validation_of_scores_is_the_squared_error():
    student = ModelOutput(logits=torch.tensor([[1.0], [4.0]]))
    output = Plain(None).validation_loss(student, torch.tensor([2.0, 2.5]))
    assert output.loss.item() == pytest.approx(1.0 + 2.25)
