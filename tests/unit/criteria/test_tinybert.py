"""``tinybert_kd`` as a criterion: what it needs, what it refuses, what it sums."""

import dataclasses

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request, check_needs
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.tinybert import TinyBertConfig, TinyBertKD, attention_term, hidden_term
from cmlm_kd.errors import UserError

PROVIDED = frozenset({"logits", "probabilities", "hidden states", "attention scores"})
STUDENT = ModelDescription("student small", PROVIDED, ("no", "yes", "maybe"), 2, 6, 2, "tokens")
TEACHER = ModelDescription("teacher big", PROVIDED, ("no", "yes", "maybe"), 4, 10, 2, "tokens")
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def random(*shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def build(student=STUDENT, teacher=TEACHER, **settings):
    torch.manual_seed(0)
    criterion = TinyBertKD(TinyBertConfig(**settings))
    needs = criterion.needs(student, teacher)
    module = criterion.build_modules(student, teacher)
    if module is not None:
        module.double()
    return criterion, needs


def outputs(needs, rows=slice(None), width=TEACHER.hidden_size):
    """Return a student and a teacher that give what was asked for and nothing else."""
    size = len(MASK[rows])
    student = ModelOutput(
        logits=random(3, 3, seed=9)[rows].requires_grad_(),
        hidden_states={
            n: random(3, 4, 6, seed=n)[rows].requires_grad_() for n in needs.student.hidden_states
        },
        attention_scores={n: random(3, 2, 4, 4, seed=20 + n)[rows] for n in needs.student.attention_scores},
        attention_mask=MASK[rows],
    )
    request = needs.teacher or Request()
    teacher = TeacherSignal(
        (
            ModelOutput(
                logits=random(3, 3, seed=40)[rows],
                hidden_states={n: random(3, 4, width, seed=50 + n)[rows] for n in request.hidden_states},
                attention_scores={n: random(3, 2, 4, 4, seed=70 + n)[rows] for n in request.attention_scores},
            ),
        )
    )
    return student, teacher, torch.tensor([0, 2, 1])[rows][:size]


def test_it_is_registered():
    assert kd_criteria.get("tinybert_kd").cls is TinyBertKD


def test_signature():
    assert TinyBertConfig(kd_attention_weight=0.5).signature() == (
        "kd:tinybert|stage:intermediate|mode:paper|layers:uniform|projection:separate|weights:1,1,0.5|dropout:False"
    )
    prediction = TinyBertConfig(kd_stage="prediction", kd_mode="original", kd_teacher_dropout=True)
    assert prediction.signature() == "kd:tinybert|stage:prediction|mode:original|T:1|dropout:True"


def request(states=(), scores=()):
    return Request(hidden_states=states, attention_scores=scores, predictions="none")


def test_needs_follow_the_layer_map_and_the_weights():
    _, needs = build()
    assert needs == Needs(request((0, 1, 2), (1, 2)), request((0, 2, 4), (2, 4)), labels=False)
    _, needs = build(kd_layer_map="2:3", kd_embedding_weight=0.0, kd_teacher_dropout=True)
    assert needs == Needs(request((2,), (2,)), request((3,), (3,)), teacher_dropout=True, labels=False)
    _, needs = build(kd_layer_map="4,4", kd_hidden_weight=0.0, kd_attention_weight=0.0)
    assert needs == Needs(request((0,)), request((0,)), labels=False)
    _, needs = build(kd_stage="prediction")
    assert needs == Needs(Request(), Request(), labels=False)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_intermediate_is_the_weighted_sum_over_the_map(mode):
    weights = {"kd_embedding_weight": 0.5, "kd_hidden_weight": 2.0, "kd_attention_weight": 3.0}
    criterion, needs = build(kd_mode=mode, kd_layer_map="1,4", **weights)
    student, teacher, target = outputs(needs)
    result = criterion.training_loss(student, target, teacher)
    maps = criterion.projection.maps
    key = {"paper": ("embeddings", "layers", "layers"), "original": ("shared",) * 3}[mode]
    states = [
        hidden_term(maps[key[m]](student.hidden_states[m]), teacher.hidden_states[n], MASK, mode).sum()
        for m, n in [(0, 0), (1, 1), (2, 4)]
    ]
    attention = sum(
        attention_term(student.attention_scores[m], teacher.attention_scores[n], MASK, mode).sum()
        for m, n in [(1, 1), (2, 4)]
    )
    expected = 0.5 * states[0] + 2.0 * (states[1] + states[2]) + 3.0 * attention
    torch.testing.assert_close(result.loss, expected)
    logged = {name: (term.total / term.count).item() for name, term in result.terms.items()}
    assert logged == pytest.approx(
        {
            "embedding_loss": states[0].item() / 3,
            "hidden_loss": (states[1] + states[2]).item() / 3,
            "attention_loss": attention.item() / 3,
        }
    )
    result.loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in criterion.projection.parameters())
    assert student.hidden_states[2].grad is not None


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
@pytest.mark.parametrize("mode", ["paper", "original"])
def test_micro_batches_add_up_to_the_batch(stage, mode):
    criterion, needs = build(kd_stage=stage, kd_mode=mode)
    whole = criterion.training_loss(*reorder(outputs(needs))).loss
    parts = [criterion.training_loss(*reorder(outputs(needs, slice(i, i + 1)))).loss for i in range(3)]
    torch.testing.assert_close(sum(parts), whole)


def reorder(found):
    student, teacher, target = found
    return student, target, teacher


def test_padding_of_other_sentences_changes_original_alone():
    for mode, same in (("paper", True), ("original", False)):
        criterion, needs = build(kd_mode=mode)
        student, teacher, target = outputs(needs, slice(1, 2))  # two real positions of four
        cut = {
            "hidden_states": {n: x[:, :2] for n, x in student.hidden_states.items()},
            "attention_scores": {n: x[:, :, :2, :2] for n, x in student.attention_scores.items()},
            "attention_mask": MASK[1:2, :2],
        }
        short = TeacherSignal(
            (
                ModelOutput(
                    logits=teacher.logits,
                    hidden_states={n: x[:, :2] for n, x in teacher.hidden_states.items()},
                    attention_scores={n: x[:, :, :2, :2] for n, x in teacher.attention_scores.items()},
                ),
            )
        )
        padded = criterion.training_loss(student, target, teacher).loss
        alone = criterion.training_loss(dataclasses.replace(student, **cut), target, short).loss
        assert torch.allclose(padded, alone) == same


def test_prediction_of_classes():
    for mode, divisor in (("paper", 1), ("original", 3)):
        criterion, needs = build(kd_stage="prediction", kd_temperature=2.0, kd_mode=mode)
        student, teacher, target = outputs(needs)
        assert criterion.projection is None
        p, q = ((x / 2.0).softmax(-1) for x in (teacher.logits, student.logits))
        result = criterion.training_loss(student, target, teacher)
        torch.testing.assert_close(result.loss, -(p * q.log()).sum() / divisor)
        assert list(result.terms) == ["prediction_loss"]


def test_prediction_of_scores():
    score = dataclasses.replace(STUDENT, labels=()), dataclasses.replace(TEACHER, labels=())
    gold, own, taught = random(3, seed=1), random(3, 1, seed=2).requires_grad_(), random(3, 1, seed=3)
    criterion, needs = build(*score, kd_stage="prediction")
    assert needs == Needs(Request(), Request(), teacher_values="logits")
    loss = criterion.training_loss(ModelOutput(logits=own), gold, TeacherSignal.of_logits(taught)).loss
    torch.testing.assert_close(loss, (own - taught).square().sum())
    criterion, needs = build(*score, kd_stage="prediction", kd_mode="original")
    assert needs == Needs()  # no teacher at all
    loss = criterion.training_loss(ModelOutput(logits=own), gold, None).loss
    torch.testing.assert_close(loss, (own[:, 0] - gold).square().sum())


@pytest.mark.parametrize(
    ("kind", "mode", "names"),
    [
        ("auto", "paper", {"maps.embeddings.weight", "maps.layers.weight"}),
        ("auto", "original", {"maps.shared.weight", "maps.shared.bias"}),
        (
            "layerwise",
            "paper",
            {
                f"maps.{key}.{part}"
                for key in ("embeddings", "layer1", "layer2")
                for part in ("weight", "bias")
            },
        ),
    ],
)
def test_projections(kind, mode, names):
    criterion, _ = build(kd_projection=kind, kd_mode=mode)
    assert set(criterion.projection.state_dict()) == names
    weight = next(p for p in criterion.projection.parameters() if p.dim() == 2)
    assert weight.shape == (10, 6) and 0.005 < weight.std() < 0.05


def test_no_projection_where_nothing_is_projected():
    assert build(kd_hidden_weight=0.0, kd_embedding_weight=0.0)[0].projection is None
    equal = dataclasses.replace(TEACHER, hidden_size=6)
    criterion, needs = build(teacher=equal, kd_projection="none")
    assert criterion.projection is None
    result = criterion.training_loss(*reorder(outputs(needs, width=6)))
    assert torch.isfinite(result.loss)


def change(model, **changes):
    return dataclasses.replace(model, **changes)


NO_SCORES = change(TEACHER, provides=PROVIDED - {"attention scores"})


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "message"),
    [
        (STUDENT, change(TEACHER, heads=5), {}, "2 and 5 attention heads"),
        (STUDENT, TEACHER, {"kd_projection": "none"}, "width 6 and 10"),
        (STUDENT, NO_SCORES, {}, "which teacher big does not give .*pass --kd-attention-weight 0"),
        (change(STUDENT, provides=NO_SCORES.provides), TEACHER, {}, "which student small does not give"),
        (STUDENT, TEACHER, {"kd_layer_map": "2,5"}, "teacher layer 5 is not in 1 to 4"),
        (change(STUDENT, layers=6), TEACHER, {}, "deeper than its teacher"),
    ],
)
def test_impossible_pairs_are_refused_by_name(student, teacher, settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        build(student, teacher, **settings)
    assert "student small" in str(refusal.value) and "teacher big" in str(refusal.value)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (STUDENT, None, "no teacher"),
        (ModelDescription("student bilstm", labels=STUDENT.labels), TEACHER, "student bilstm does not give"),
        (
            STUDENT,
            change(TEACHER, layers=0, provides=frozenset({"probabilities"})),
            "hidden states, which teacher big",
        ),
        (STUDENT, change(TEACHER, tokenizer="others"), "position by position"),
    ],
)
def test_models_that_cannot_give_it_are_refused_as_elsewhere(student, teacher, message):
    needs = TinyBertKD(TinyBertConfig()).needs(student, teacher)
    with pytest.raises(UserError, match=message):
        check_needs("tinybert_kd", needs, student, teacher)


def test_models_without_attention_scores_are_compared_without():
    _, needs = build(teacher=NO_SCORES, kd_attention_weight=0.0)
    assert needs.teacher.attention_scores == () and needs.teacher.hidden_states
    check_needs("tinybert_kd", needs, STUDENT, NO_SCORES)


def test_heads_and_widths_may_differ_where_the_formula_allows_it():
    _, needs = build(teacher=change(TEACHER, heads=5), kd_attention_weight=0.0)
    assert needs.teacher.attention_scores == ()
    _, needs = build(kd_projection="none", kd_hidden_weight=0.0, kd_embedding_weight=0.0)
    assert needs.student.hidden_states == ()
    build(teacher=change(TEACHER, heads=5), kd_stage="prediction")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_temperature": 0.0}, "--kd-temperature is 0.0; it must be above 0"),
        ({"kd_hidden_weight": -1.0}, "--kd-hidden-weight is -1.0; it must be 0 or more"),
        ({"kd_attention_weight": float("nan")}, "--kd-attention-weight is nan; it must be 0 or more"),
        (
            {"kd_hidden_weight": 0.0, "kd_embedding_weight": 0.0, "kd_attention_weight": 0.0},
            "nothing would be learned",
        ),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(UserError, match=message):
        TinyBertConfig(**settings)
