"""``mobilebert_kd``: its stages, rates and needs over time, its loss against loops, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch

from cmlm_kd.api.criterion import NOT_MASKED
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
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.mobilebert import MobileBertConfig, MobileBertKD
from cmlm_kd.criteria.mobilebert_schedule import Schedule, Stage, background_rate
from cmlm_kd.criteria.mobilebert_transfer import (
    attention_divergence,
    feature_map_term,
    mean_term,
    token_means,
    token_variances,
    variance_term,
)
from cmlm_kd.errors import UserError
from cmlm_kd.optim import EMBEDDINGS_AND_HEAD

PROVIDED = frozenset({LOGITS, PROBABILITIES, HIDDEN_STATES, ATTENTION_SCORES})
STUDENT = ModelDescription("student mobilebert", PROVIDED, (), 3, 6, 2, "t", 7)
TEACHER = replace(STUDENT, name="teacher ib")
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
TARGET = torch.tensor([3, NOT_MASKED, 0, 6])


def make(student=STUDENT, teacher=TEACHER, **settings):
    settings = {"strategy": "progressive", "transfer_updates": 9, **settings}
    if settings["strategy"] == "auxiliary":
        settings.pop("transfer_updates")
    criterion = MobileBertKD(MobileBertConfig(**{f"kd_{name}": value for name, value in settings.items()}))
    needs = criterion.needs(student, teacher)
    check_needs("mobilebert_kd", needs, student, teacher)
    return criterion, needs


def random(*shape, seed):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return values.requires_grad_()


def outputs(seed=0, *, features=True):
    """Everything that a student or teacher could say of two sentences; masked tokens are rows 0, 2 and 3."""
    kept = {
        "hidden_states": {layer: random(2, 4, 6, seed=seed + layer) for layer in (0, 1, 2, 3)},
        "attention_scores": {layer: random(2, 2, 4, 4, seed=seed + 10 + layer) for layer in (1, 2, 3)},
    }
    if features:
        kept.update(
            features=random(4, 6, seed=seed + 20),
            weight=random(7, 6, seed=seed + 21),
            bias=random(7, seed=seed + 22),
        )
    else:
        kept.update(logits=random(4, 7, seed=seed + 23))
    return kept


def student_output(**kept):
    return ModelOutput(attention_mask=MASK, positions=torch.arange(4), **kept)


def teacher_signal(**kept):
    logits = kept.pop("logits", None)
    kept = {
        name: {layer: value.detach() for layer, value in each.items()}
        if isinstance(each, dict)
        else each.detach()
        for name, each in kept.items()
    }
    return TeacherSignal((ModelOutput(logits=None if logits is None else logits.detach(), **kept),))


# -- time ----------------------------------------------------------------------------------------------------


def test_the_background_is_the_released_one():
    found = [background_rate(update, 100) for update in (0, 1, 5, 9, 10, 50, 99, 100, 120)]
    expected = [0, 0.1, 0.5, 0.9, 0.9 + 0.1 * math.sqrt(0.9), 0.9 + 0.1 * math.sqrt(0.5), 0.91, 0.9, 0.9]
    assert found == pytest.approx(expected, abs=1e-12)
    assert background_rate(0, 1) == 1.0


def test_progressive_teaches_layer_by_layer_then_distils():
    schedule = Schedule("progressive", (1, 2, 3), 3, 10)
    stages = [schedule.stage(update) for update in range(12)]
    assert [stage.transfers for stage in stages] == [
        range(turn, turn + 1) for turn in (0, 0, 0, 1, 1, 1, 2, 2, 2, 2)
    ] + [range(0)] * 2
    assert [stage.distils for stage in stages] == [False] * 10 + [True] * 2


def test_progressive_rates_are_the_released_ones():
    schedule = Schedule("progressive", (1, 2, 3), 3, 30)
    assert set(schedule.rate_factors(10).values()) == {0.0}  # all begin anew with every layer
    assert schedule.rate_factors(15) == pytest.approx(
        {
            EMBEDDINGS_AND_HEAD: 0.0,
            "layer 1": 0.3 * (0.9 + 0.1 * math.sqrt(0.5)),
            "layer 2": 3.0 * (0.9 + 0.1 * math.sqrt(0.5)),
            "layer 3": 0.0,
        }
    )
    assert set(schedule.rate_factors(30).values()) == {0.0}  # and with distillation
    assert set(schedule.rate_factors(31).values()) == {1.0}


def test_rates_of_other_settings():
    schedule = Schedule("progressive", (2, 4), 5, 2, finished_rate=0.0, rest_rate=0.5)
    assert schedule.rate_factors(0) == {
        EMBEDDINGS_AND_HEAD: 0.5,
        **{f"layer {n}": rate for n, rate in enumerate((3, 3, 0, 0, 0), 1)},
    }
    assert schedule.rate_factors(1) == {
        EMBEDDINGS_AND_HEAD: 0.5,
        **{f"layer {n}": rate for n, rate in enumerate((0, 0, 3, 3, 0), 1)},
    }
    assert Schedule("joint", (1, 2), 2, 8).rate_factors(3) is None
    assert Schedule("progressive", (1, 2), 2, 0).rate_factors(0) is None


def test_joint_and_auxiliary():
    joint, auxiliary = (Schedule(name, (1, 2, 3), 3, 4) for name in ("joint", "auxiliary"))
    assert joint.stage(3) == Stage(range(3), distils=False)
    assert joint.stage(4) == Stage(range(0), distils=True)
    assert auxiliary.stage(0) == auxiliary.stage(99) == Stage(range(3), distils=True)


# -- needs ---------------------------------------------------------------------------------------------------


def test_what_is_read_follows_the_time():
    criterion, whole = make()
    everything = Request(hidden_states=(1, 2, 3), attention_scores=(1, 2, 3))
    assert whole == Needs(everything, everything)
    for update, layer in ((0, 1), (4, 2), (8, 3)):
        criterion.begin_update(update)
        one = Request(hidden_states=(layer,), attention_scores=(layer,), predictions="none")
        assert criterion.needs_now() == Needs(one, one)
    criterion.begin_update(9)
    assert criterion.needs_now() == Needs(Request(), Request())


def test_what_has_no_weight_is_not_read():
    criterion, needs = make(attention_weight=0.0)
    assert needs.teacher.attention_scores == ()
    criterion, needs = make(feature_map_weight=0.0)
    assert needs.teacher.hidden_states == ()
    criterion, _ = make(hard_share=1.0)
    criterion.begin_update(9)
    assert criterion.needs_now() == Needs(Request(), None)


def test_released_statistics_read_all_of_the_teacher():
    _, needs = make(mode="original")
    assert (needs.student.hidden_states, needs.teacher.hidden_states) == ((1, 2, 3), (0, 1, 2, 3))
    criterion, _ = make(mode="original", mean_weight=0.0, variance_weight=0.0)
    assert criterion.needs_now().teacher.hidden_states == (1,)


def test_a_shallower_student_learns_by_a_map():
    criterion, needs = make(teacher=replace(TEACHER, layers=6))
    assert (needs.student.hidden_states, needs.teacher.hidden_states) == ((1, 2, 3), (2, 4, 6))
    criterion, needs = make(teacher=replace(TEACHER, layers=6), layer_map="1:1,3:5", transfer_updates=2)
    assert (needs.student.hidden_states, needs.teacher.hidden_states) == ((1, 3), (1, 5))
    criterion.begin_update(1)
    assert criterion.rate_factors()["layer 2"] == 3.0  # on the way to layer 3


# -- loss ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["paper", "original"])
@pytest.mark.parametrize("strategy", ["progressive", "joint"])
def test_the_transfer_is_the_weighted_terms_of_its_layers(mode, strategy):
    weights = {"feature_map": 7.0, "attention": 2.0, "mean": 3.0, "variance": 5.0}
    criterion, _ = make(
        strategy=strategy, mode=mode, **{f"{name}_weight": weight for name, weight in weights.items()}
    )
    criterion.begin_update(4)
    student, teacher = outputs(1), outputs(2)
    found = criterion.training_loss(student_output(**student), TARGET, teacher_signal(**teacher))
    layers = (2,) if strategy == "progressive" else (1, 2, 3)
    expected = 0.0
    states = {layer: state.detach() for layer, state in teacher["hidden_states"].items()}
    for layer in layers:
        compared = [states[layer]] if mode == "paper" else list(states.values())  # embeddings among them
        s, t = student["hidden_states"][layer], teacher["hidden_states"][layer].detach()
        a, b = student["attention_scores"][layer], teacher["attention_scores"][layer].detach()
        for name, term, pair in (
            ("feature_map", feature_map_term, (s, t)),
            ("attention", attention_divergence, (a, b)),
            ("mean", mean_term, (s, token_means(compared))),
            ("variance", variance_term, (s, token_variances(compared))),
        ):
            expected = expected + weights[name] / 3 * term(*pair, MASK, mode).sum()
    torch.testing.assert_close(found.loss, expected, atol=1e-12, rtol=1e-12)
    assert found.size == 2
    assert set(found.terms) == {f"{name}_loss" for name in weights}
    inputs = [student[name][2] for name in ("hidden_states", "attention_scores")]
    for ours, theirs in zip(
        torch.autograd.grad(found.loss, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_terms_are_logged_before_their_weights():
    criterion, _ = make(mode="original")
    student, teacher = outputs(1), outputs(2)
    found = criterion.training_loss(student_output(**student), TARGET, teacher_signal(**teacher))
    term = found.terms["feature_map_loss"]
    value = feature_map_term(student["hidden_states"][1], teacher["hidden_states"][1], MASK, "original")
    torch.testing.assert_close(term.total / term.count, value.mean().detach())
    assert criterion.config.weights == {
        "feature_map_loss": 100.0,
        "attention_loss": 1.0,
        "mean_loss": 5000.0,
        "variance_loss": 5.0,
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("features", [True, False], ids=["projected", "logits"])
@pytest.mark.parametrize("mode", ["paper", "original"])
def test_distillation_is_the_loop(share, features, mode):
    criterion, _ = make(hard_share=share, mode=mode)
    criterion.begin_update(9)
    student, teacher = outputs(1, features=features), outputs(2, features=features)
    found = criterion.training_loss(
        student_output(**student), TARGET, None if share == 1.0 else teacher_signal(**teacher)
    )
    z, t = (
        each["features"] @ each["weight"].T + each["bias"] if features else each["logits"]
        for each in (student, teacher)
    )
    expected = 0.0
    for row in (0, 2, 3):
        q, p = (x[row].exp() / x[row].exp().sum() for x in (z, t.detach()))
        for piece in range(7):
            target = share * float(piece == TARGET[row]) + (1 - share) * p[piece]
            expected = expected - target * q[piece].log()
    torch.testing.assert_close(found.loss, expected * 3 / (3 + (1e-5 if mode == "original" else 0)))
    assert found.size == 3
    leaf = student["features" if features else "logits"]
    ours, theirs = (
        torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in (found.loss, expected)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_auxiliary_adds_both():
    criterion, _ = make(strategy="auxiliary")
    joint, distils = make(strategy="joint")[0], make()[0]
    joint.begin_update(0)
    distils.begin_update(9)
    signal, student = teacher_signal(**outputs(2)), student_output(**outputs(1))
    both, transfer, predictions = (
        each.training_loss(student, TARGET, signal) for each in (criterion, joint, distils)
    )
    torch.testing.assert_close(both.loss / 2, transfer.loss / 2 + predictions.loss / 3)
    assert set(both.terms) == {*transfer.terms, "distillation_loss"}


def test_a_student_that_is_its_teacher_has_nothing_left_to_be_taught():
    criterion, _ = make(strategy="joint", mean_weight=5000.0, variance_weight=5.0)
    same = outputs(1)
    found = criterion.training_loss(student_output(**same), TARGET, teacher_signal(**same))
    assert found.loss.item() == pytest.approx(0.0, abs=1e-12)


def test_padding_and_batches_change_nothing_in_paper_mode():
    criterion, _ = make(strategy="joint", mean_weight=2.0)
    student, teacher = outputs(1), outputs(2)
    whole = criterion.training_loss(student_output(**student), TARGET, teacher_signal(**teacher))
    parts = []
    for row, width in ((0, 4), (1, 2)):
        cut = [
            {
                "hidden_states": {m: x[row : row + 1, :width] for m, x in each["hidden_states"].items()},
                "attention_scores": {
                    m: x[row : row + 1, :, :width, :width] for m, x in each["attention_scores"].items()
                },
            }
            for each in (student, teacher)
        ]
        one = ModelOutput(attention_mask=MASK[row : row + 1, :width], **cut[0])
        parts.append(criterion.training_loss(one, TARGET[:0], teacher_signal(**cut[1])).loss)
    torch.testing.assert_close(sum(parts), whole.loss)


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "message"),
    [
        ({}, {"heads": 4}, {}, "2 and 4 attention heads.*--heads 4.*--kd-attention-weight 0"),
        ({}, {"hidden_size": 8}, {}, "6 and 8 wide.*give the student --hidden-size 8"),
        ({"layers": 4}, {}, {}, "student of 4 and a teacher of 3 layers.*deeper than its teacher"),
        ({}, {}, {"layer_map": "1,2"}, "names 2 teacher layers, 3 layers of the student learn"),
        ({}, {}, {"layer_map": "1,2,4"}, "teacher layer 4 is not in 1 to 3"),
        ({}, {"vocabulary": 8}, {}, "chooses from 7 tokens and teacher ib from 8"),
        ({}, {"tokenizer": "u"}, {}, "tokenizers differ"),
        ({}, {"provides": PROVIDED - {LOGITS, PROBABILITIES}}, {}, "has no masked-LM head"),
        (
            {},
            {"provides": PROVIDED - {ATTENTION_SCORES}},
            {},
            "reads attention scores, which teacher ib does not",
        ),
        ({}, {}, {"transfer_updates": 2}, "2 leaves no update for each of 3 layers.*give 3 or more"),
        (
            {},
            {},
            {"transfer_updates": None},
            "--kd-transfer-updates is missing; give .*3 or more for 3 layers",
        ),
        ({}, {}, {"transfer_updates": -1}, "--kd-transfer-updates is -1; it must be 0 or more"),
        ({}, {}, {"hard_share": 1.1}, r"--kd-hard-share is 1.1; it must be in \[0, 1\]"),
        ({}, {}, {"mean_weight": -1.0}, "--kd-mean-weight is -1.0; it must be 0 or more"),
        (
            {},
            {},
            {"feature_map_weight": float("nan")},
            "--kd-feature-map-weight is nan; it must be 0 or more",
        ),
        ({}, {}, {"current_rate": 0.0}, "--kd-current-rate is 0.0; it must be above 0"),
        ({}, {}, {"feature_map_weight": 0.0, "attention_weight": 0.0}, "all weights of the transfer are 0"),
    ],
)
def test_what_does_not_fit_is_named(student, teacher, settings, message):
    with pytest.raises(UserError, match=message):
        make(replace(STUDENT, **student), replace(TEACHER, **teacher), **settings)


def test_auxiliary_has_no_stages_and_a_teacher_is_needed():
    with pytest.raises(UserError, match="--kd-transfer-updates has no meaning for --kd-strategy auxiliary"):
        MobileBertConfig(kd_strategy="auxiliary", kd_transfer_updates=5)
    with pytest.raises(UserError, match=r"student mobilebert has no teacher.*--criterion bert_mlm"):
        make(teacher=None)


def test_distillation_alone_compares_predictions_of_any_shape():
    unlike = replace(TEACHER, layers=9, hidden_size=99, heads=11)
    _, needs = make(teacher=unlike, strategy="joint", transfer_updates=0)
    assert needs == Needs(Request(), Request())
    assert make(transfer_updates=0)[0].rate_factors() is None


def test_the_signature_says_what_was_done():
    config = MobileBertConfig(kd_transfer_updates=900, kd_mode="original")
    assert config.signature() == (
        "kd:mobilebert|strategy:progressive|transfer:900|mode:original|layers:uniform|weights:100,1,5000,5|"
        "hard:0.5|rates:3,0.3,0"
    )
