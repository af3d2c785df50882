"""``distilbert_kd``: golden values, fused against dense, gradients against loops, accumulation, refusals."""

import math

import pytest
import torch

from cmlm_kd.api.criterion import NOT_MASKED
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, check_needs
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.distilbert import DistilBertConfig, DistilBertKD
from cmlm_kd.errors import UserError

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = torch.full((2, 5), NOT_MASKED)
LABELS[0, 1], LABELS[0, 4], LABELS[1, 2] = 3, 6, 0
GOLDEN = {"real": 8.3278825702, "masked": 8.0371058204}  # methods.md 9, DistilBERT, weights 5/2/1


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


def description(name="student", width=6, layers=2, vocabulary=7, provides=("logits", "probabilities")):
    provides = frozenset({"hidden states", *provides})
    return ModelDescription(name, provides, layers=layers, hidden_size=width, heads=2, vocabulary=vocabulary)


def criterion(**settings):
    made = DistilBertKD(DistilBertConfig(**settings))
    made.needs(description(), description("teacher", layers=4))
    return made


def positions(kind, mask=MASK, labels=LABELS):
    chosen = mask.bool() if kind == "real" else labels != NOT_MASKED
    return chosen.flatten().nonzero().squeeze(1)


def dense_batch(kind, student=None):
    """The golden inputs as logits, with the last hidden states of layers 2 and 4."""
    rows = positions(kind)
    own = waves((2, 5, 7), 0.2, 2).flatten(0, 1)[rows]
    theirs = waves((2, 5, 7), 0.9, 2.5).flatten(0, 1)[rows]
    return (
        ModelOutput(
            logits=own if student is None else student[rows],
            hidden_states={2: waves((2, 5, 6), 0.3, 1)},
            attention_mask=MASK,
            positions=rows,
        ),
        LABELS.flatten()[rows],
        TeacherSignal((ModelOutput(logits=theirs, hidden_states={4: waves((2, 5, 6), 1.1, 1)}),)),
    )


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_value(kind):
    output = criterion(kd_positions=kind).training_loss(*dense_batch(kind))
    assert output.size == 8
    assert (output.loss / output.size).item() == pytest.approx(GOLDEN[kind], abs=1e-8)


def by_loop(student, teacher, kind, config):
    """The released expression, position by position."""
    T, kl, mlm, mse = config.kd_temperature, 0.0, 0.0, 0.0
    rows = positions(kind).tolist()
    hidden = [i for i in rows if LABELS.flatten()[i] != NOT_MASKED]
    for i in rows:
        p = [(z / T).exp() for z in teacher[i]]
        p = [value / sum(p) for value in p]
        q = [(z / T).exp() for z in student[i]]
        q = [value / sum(q) for value in q]
        kl = kl + T * T * sum(a * (a.log() - b.log()) for a, b in zip(p, q, strict=True))
        mse = mse + sum((a - b) ** 2 for a, b in zip(student[i], teacher[i], strict=True))
    for i in hidden:
        total = sum(z.exp() for z in student[i])
        mlm = mlm - (student[i][LABELS.flatten()[i]].exp() / total).log()
    count = len(rows)
    return (
        config.kd_soft_weight * kl / count
        + config.kd_mlm_weight * mlm / len(hidden)
        + config.kd_mse_weight * mse / count
    )


@pytest.mark.parametrize("kind", ["real", "masked"])
def test_gradient_is_that_of_the_loop(kind):
    settings = {"kd_positions": kind, "kd_cosine_weight": 0.0, "kd_mse_weight": 0.3}
    student = waves((10, 7), 0.2, 2).requires_grad_()
    output = criterion(**settings).training_loss(*dense_batch(kind, student))
    expected = by_loop(student, waves((10, 7), 0.9, 2.5), kind, DistilBertConfig(**settings))
    torch.testing.assert_close(output.loss / output.size, expected, atol=1e-10, rtol=1e-10)
    ours, theirs = (torch.autograd.grad(value, student)[0] for value in (output.loss / output.size, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def featured(kind, leaves, teacher):
    features, weight, bias = leaves
    rows = positions(kind)
    states = waves((2, 5, 6), 0.3, 1)
    return (
        ModelOutput(
            features=features[rows],
            weight=weight,
            bias=bias,
            hidden_states={2: states},
            attention_mask=MASK,
            positions=rows,
        ),
        LABELS.flatten()[rows],
        TeacherSignal(
            (
                ModelOutput(
                    hidden_states={4: waves((2, 5, 6), 1.1, 1)},
                    features=teacher[0][rows],
                    weight=teacher[1],
                    bias=teacher[2],
                ),
            )
        ),
    )


@pytest.mark.parametrize("kind", ["real", "masked"])
@pytest.mark.parametrize(
    "weights",
    [{}, {"kd_mse_weight": 0.5}, {"kd_mlm_weight": 0.0}, {"kd_soft_weight": 0.0, "kd_mse_weight": 0.5}],
)
def test_fused_is_dense(kind, weights):
    leaves = [
        waves(shape, phase, 1).requires_grad_() for shape, phase in (((10, 6), 1), ((7, 6), 2), ((7,), 3))
    ]
    teacher = [waves(shape, phase, 1) for shape, phase in (((10, 9), 4), ((7, 9), 5), ((7,), 6))]
    found = {}
    for way in ("fused", "dense"):
        made = criterion(kd_positions=kind, kd_implementation=way, **weights)
        output = made.training_loss(*featured(kind, leaves, teacher))
        found[way] = output, torch.autograd.grad(output.loss, leaves)
    (fused, ours), (dense, theirs) = found["fused"], found["dense"]
    torch.testing.assert_close(fused.loss, dense.loss, atol=1e-10, rtol=1e-10)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=1e-10)
    assert fused.terms.keys() == dense.terms.keys()
    for name, term in dense.terms.items():
        torch.testing.assert_close(fused.terms[name].total, term.total, atol=1e-10, rtol=1e-10)
        assert fused.terms[name].count == term.count


def test_a_model_that_gives_logits_is_dense_or_refused():
    batch = dense_batch("real")
    assert criterion().training_loss(*batch).loss.isfinite()
    with pytest.raises(UserError, match="kd-implementation fused does not work here: student or teacher"):
        criterion(kd_implementation="fused").training_loss(*batch)


def test_padding_changes_nothing():
    """The batch with three more columns of padding."""
    settings = {"kd_positions": "real"}
    student, target, teacher = dense_batch("real")
    expected = criterion(**settings).training_loss(student, target, teacher).loss
    mask = torch.cat([MASK, MASK.new_zeros(2, 3)], 1)
    padded = [
        torch.cat([states, 9.0 + states.new_zeros(2, 3, 6)], 1)
        for states in (student.hidden_states[2], teacher.hidden_states[4])
    ]
    output = criterion(**settings).training_loss(
        ModelOutput(
            logits=student.logits,
            hidden_states={2: padded[0]},
            attention_mask=mask,
            positions=student.positions,
        ),
        target,
        TeacherSignal((ModelOutput(logits=teacher.logits, hidden_states={4: padded[1]}),)),
    )
    torch.testing.assert_close(output.loss, expected)


def test_accumulation_of_equally_masked_batches_is_one_batch():
    """Sentences in batches of their own, each counted by its positions; the cosine at every real one."""
    settings = {"kd_mlm_weight": 0.0}
    student, target, teacher = dense_batch("real")
    whole = criterion(**settings).training_loss(student, target, teacher)
    parts = []
    for row, chosen in ((0, slice(0, 5)), (1, slice(5, 8))):
        own, signal = student.hidden_states[2][row : row + 1], teacher.hidden_states[4][row : row + 1]
        parts.append(
            criterion(**settings).training_loss(
                ModelOutput(
                    logits=student.logits[chosen],
                    hidden_states={2: own},
                    attention_mask=MASK[row : row + 1],
                    positions=torch.arange(5)[: MASK[row].sum()],
                ),
                target[chosen],
                TeacherSignal((ModelOutput(logits=teacher.members[0][chosen], hidden_states={4: signal}),)),
            )
        )
    torch.testing.assert_close(parts[0].loss + parts[1].loss, whole.loss)
    assert parts[0].size + parts[1].size == whole.size


def test_a_batch_without_hidden_pieces_has_no_mlm_loss():
    student, target, teacher = dense_batch("real")
    output = criterion().training_loss(student, torch.full_like(target, NOT_MASKED), teacher)
    assert output.loss.isfinite() and output.terms["mlm_loss"].count == 0


def test_nothing_more_is_asked_for_than_the_weights_need():
    needs = criterion(kd_cosine_weight=0.0).needs(description(), description("teacher", width=9))
    assert needs.student.hidden_states == needs.teacher.hidden_states == ()
    needs = criterion(kd_positions="masked").needs(description(), description("teacher", layers=4))
    assert (needs.student.hidden_states, needs.teacher.hidden_states) == ((2,), (4,))
    assert needs.teacher.predictions == "masked"
    unlike = {"kd_soft_weight": 0.0}  # no logits are compared: a teacher without head can give the cosine
    teacher = description("teacher", layers=4, provides=())
    for mlm, predictions in ((2.0, "masked"), (0.0, "none")):
        needs = criterion(**unlike, kd_mlm_weight=mlm).needs(description(), teacher)
        assert (needs.student.predictions, needs.teacher.predictions) == (predictions, "none")
        assert (needs.student.hidden_states, needs.teacher.hidden_states) == ((2,), (4,))
        check_needs("distilbert_kd", needs, description(), teacher)
    needs = criterion(**unlike, kd_mse_weight=1.0).needs(description(), description("teacher"))
    assert needs.student.predictions == needs.teacher.predictions == "real"


@pytest.mark.parametrize("implementation", ["auto", "fused", "dense"])
def test_without_the_divergence_only_what_was_hidden_is_predicted(implementation):
    settings = {"kd_soft_weight": 0.0, "kd_implementation": implementation}
    student, target, teacher = dense_batch("masked")
    output = criterion(**settings).training_loss(
        student, target, TeacherSignal((ModelOutput(hidden_states=teacher.hidden_states),))
    )
    whole = criterion().training_loss(*dense_batch("real"))
    assert output.terms.keys() == {"mlm_loss", "cosine_loss"}
    for name, term in output.terms.items():
        torch.testing.assert_close(term.total, whole.terms[name].total)
    loss = 2 * whole.terms["mlm_loss"].total / 3 + whole.terms["cosine_loss"].total / 8
    torch.testing.assert_close(output.loss / output.size, loss)


def test_the_cosine_alone_needs_no_predictions():
    student, target, teacher = dense_batch("real")
    only = ModelOutput(
        hidden_states=student.hidden_states, attention_mask=MASK, positions=student.positions[:0]
    )
    output = criterion(kd_soft_weight=0.0, kd_mlm_weight=0.0).training_loss(
        only, target[:0], TeacherSignal((ModelOutput(hidden_states=teacher.hidden_states),))
    )
    assert output.terms.keys() == {"cosine_loss"}
    expected = criterion().training_loss(student, target, teacher).terms["cosine_loss"].total
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"width": 9}, "hidden states of width 6 and 9, of which there is no cosine"),
        ({"vocabulary": 8}, "chooses from 7 tokens and teacher from 8"),
        ({"provides": ()}, "has no masked-LM head .* bert_mlm"),
    ],
)
def test_misfits_are_named(teacher, message):
    own, other = description(), description("teacher", **teacher)
    with pytest.raises(UserError, match=message):
        check_needs("distilbert_kd", DistilBertKD(DistilBertConfig()).needs(own, other), own, other)


def test_no_teacher_is_refused():
    own = description()
    with pytest.raises(UserError, match=r"no teacher to learn from.*--criterion bert_mlm"):
        check_needs("distilbert_kd", DistilBertKD(DistilBertConfig()).needs(own, None), own, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_temperature": 0.0}, "--kd-temperature is 0.0; it must be above 0"),
        ({"kd_mse_weight": -1.0}, "--kd-mse-weight is -1.0; it must be 0 or more"),
        (
            {"kd_soft_weight": 0.0, "kd_mlm_weight": 0.0, "kd_cosine_weight": 0.0},
            "are all 0, so that nothing would be learned",
        ),
    ],
)
def test_settings_outside_their_range(settings, message):
    with pytest.raises(UserError, match=message):
        DistilBertConfig(**settings)
