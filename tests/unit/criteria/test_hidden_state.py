"""hidden_state_kd against a loop over pairs and positions in float64, and what it refuses."""

import dataclasses
import itertools

import pytest
import torch
from soft_target_batch import PAD, TARGET, TOP_K, Student, losses, make_teacher, random

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import (
    ATTENTION_SCORES,
    CROSS_ATTENTION_SCORES,
    HIDDEN_STATES,
    LOGITS,
    PROBABILITIES,
    ModelDescription,
    check_needs,
)
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.hidden_state import HiddenStateConfig, HiddenStateKD
from cmlm_kd.errors import UserError

WIDTHS, HEADS, SOURCE = (4, 6), 2, torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 1]])  # padded on the left
INSIDE = {HIDDEN_STATES, ATTENTION_SCORES, CROSS_ATTENTION_SCORES}


def describe(name, layers=(2, 2), width=4, heads=HEADS, provides=INSIDE):
    given = frozenset({LOGITS, PROBABILITIES} | provides)
    common = {"hidden_size": width, "heads": heads, "tokenizer": "t", "vocabulary": 9}
    encoder = ModelDescription(name, given, layers=layers[0], **common)
    return ModelDescription(name, given, layers=layers[1], encoder=encoder, **common)


STUDENT, TEACHER = describe("student"), describe("teacher m.pt", (4, 3), WIDTHS[1])


def make(student=STUDENT, teacher=TEACHER, **settings):
    config = HiddenStateConfig(**{"kd_topk": TOP_K, "kd_temperature": 4.0, **settings})
    criterion = HiddenStateKD(config, PAD)
    needs = criterion.needs(student, teacher)
    check_needs("hidden_state_kd", needs, student, teacher)
    module = criterion.build_modules(student, teacher)
    return criterion, needs, None if module is None else module.double()


def inside(needs, width, seed, **prediction):
    """What a translator keeps, in random numbers; padding among them."""
    counter = itertools.count(seed)

    def states(layers, length):
        return {n: random(3, length, width, seed=next(counter)).requires_grad_() for n in layers}

    def scores(layers, rows, columns):
        shape = (3, HEADS, rows, columns)
        return {n: random(*shape, seed=next(counter)).requires_grad_() for n in layers}

    encoder = ModelOutput(
        hidden_states=states(needs.encoder.hidden_states, 3),
        attention_scores=scores(needs.encoder.attention_scores, 3, 3),
        attention_mask=SOURCE,
    )
    return ModelOutput(
        **prediction,
        hidden_states=states(needs.hidden_states, 4),
        attention_scores=scores(needs.attention_scores, 4, 4),
        cross_attention_scores=scores(needs.cross_attention_scores, 4, 3),
        encoder=encoder,
    )


def leaves(output):
    kept = (output.hidden_states, output.attention_scores, output.cross_attention_scores)
    own = [tensor for mapping in kept for tensor in mapping.values()]
    return own if output.encoder is None else own + leaves(output.encoder)


def mse(pairs):
    """The mean of squared differences of numbers, in a loop."""
    values = [(a - b) ** 2 for a, b in pairs]
    return sum(values) / len(values)


def by_loop(student, teacher, maps, weights, projections):
    """The weighted terms, pair by pair."""
    total = torch.zeros((), dtype=torch.float64)
    for b in range(3):
        source = [s for s in range(3) if SOURCE[b, s]]
        target = [t for t in range(4) if TARGET[b, t] != PAD]
        value = torch.zeros((), dtype=torch.float64)
        for half, name, places in ((0, "encoder", source), (1, "decoder", target)):
            mine, theirs = (student, teacher) if half else (student.encoder, teacher.encoder)
            for m, n in maps[half]:
                matrix = projections[name].maps["layers"].weight
                value = value + weights[0] * mse(
                    (matrix[d] @ mine.hidden_states[m][b, i], theirs.hidden_states[n][b, i, d])
                    for i in places
                    for d in range(WIDTHS[1])
                )
                value = value + weights[1] * mse(
                    (mine.attention_scores[m][b, h, i, j], theirs.attention_scores[n][b, h, i, j])
                    for h in range(HEADS)
                    for i in places
                    for j in places
                    if not half or j <= i
                )
                if half:
                    value = value + weights[2] * mse(
                        (
                            mine.cross_attention_scores[m][b, h, i, j],
                            theirs.cross_attention_scores[n][b, h, i, j],
                        )
                        for h in range(HEADS)
                        for i in target
                        for j in source
                    )
        total = total + len(target) * value
    return total


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_value_and_gradient_against_a_loop(implementation):
    weights = (2.0, 0.5, 3.0)
    criterion, needs, projections = make(
        kd_hidden_weight=2.0, kd_attention_weight=0.5, kd_cross_attention_weight=3.0,
        kd_decoder_layer_map="2:1",
    )  # fmt: skip
    translator = Student()
    given = translator.output(implementation)
    prediction = {name: getattr(given, name) for name in ("logits", "features", "weight", "bias")}
    student = inside(needs.student, WIDTHS[0], 10, **prediction)
    teacher = inside(needs.teacher, WIDTHS[1], 50)
    signal = TeacherSignal((teacher,), soft_targets=make_teacher())
    output = criterion.training_loss(student, TARGET, signal)
    maps = [[(1, 2), (2, 4)], [(2, 1)]]
    inner = by_loop(student, teacher, maps, weights, projections)
    assert output.loss.item() == pytest.approx(losses(translator) + inner.item(), rel=1e-10)
    inputs = [*leaves(student), *projections.parameters()]
    found = torch.autograd.grad(output.loss, inputs, allow_unused=True)
    for actual, wanted in zip(found, torch.autograd.grad(inner, inputs, allow_unused=True), strict=True):
        torch.testing.assert_close(actual, wanted)
    named = {"encoder_hidden", "decoder_hidden", "encoder_attention", "decoder_attention", "cross_attention"}
    terms = {f"{name}_loss": output.terms[f"{name}_loss"] for name in named}
    assert {term.count.item() for term in terms.values()} == {9}
    logged = sum(
        weight * terms[f"{name}_loss"].total
        for name, weight in zip(
            ("encoder_hidden", "decoder_hidden", "encoder_attention", "decoder_attention", "cross_attention"),
            (2.0, 2.0, 0.5, 0.5, 3.0),
            strict=True,
        )
    )
    torch.testing.assert_close(logged, inner.detach())


def test_micro_batches_add_up():
    criterion, needs, _ = make(kd_alpha=0.0)
    whole = inside(needs.student, WIDTHS[0], 10, logits=Student().logits())
    teacher = inside(needs.teacher, WIDTHS[1], 50)

    def row(output, b):
        def cut(kept):
            return {layer: tensor[b : b + 1] for layer, tensor in kept.items()}

        return dataclasses.replace(
            output,
            logits=None if output.logits is None else output.logits[b : b + 1],
            hidden_states=cut(output.hidden_states),
            attention_scores=cut(output.attention_scores),
            cross_attention_scores=cut(output.cross_attention_scores),
            attention_mask=None if output.attention_mask is None else output.attention_mask[b : b + 1],
            encoder=None if output.encoder is None else row(output.encoder, b),
        )

    parts = [
        criterion.training_loss(row(whole, b), TARGET[b : b + 1], TeacherSignal((row(teacher, b),))).loss
        for b in range(3)
    ]
    together = criterion.training_loss(whole, TARGET, TeacherSignal((teacher,))).loss
    torch.testing.assert_close(sum(parts), together)


def test_only_what_has_a_weight_is_kept_and_projected():
    _, needs, projections = make(kd_attention_weight=0.0, kd_encoder_layer_map="none", kd_alpha=0.0)
    assert not needs.student.encoder.reads_inside and not needs.student.attention_scores
    assert needs.student.hidden_states == (1, 2) and needs.teacher.hidden_states == (2, 3)
    assert needs.teacher.predictions == "none" and set(projections) == {"decoder"}
    _, needs, projections = make(kd_hidden_weight=0.0)
    assert projections is None and not needs.student.hidden_states and needs.teacher.predictions == "masked"


@pytest.mark.parametrize(
    ("pair", "settings", "message"),
    [
        ({"teacher": None}, {}, "reads the inside .* name its checkpoint with --online-teacher"),
        (
            {"teacher": describe("teacher lstm.pt (LSTMModel)", provides=set())},
            {},
            r"reads hidden states, which teacher lstm.pt \(LSTMModel\) does not give .* soft_target_kd",
        ),
        (
            {"teacher": describe("teacher x", provides={HIDDEN_STATES})},
            {},
            "reads attention scores, which teacher x does not give .* --kd-attention-weight 0",
        ),
        ({}, {"kd_decoder_layer_map": "1,4"}, "decoders of student and teacher m.pt: .* layer 4 is not in"),
        ({}, {"kd_encoder_layer_map": "1,2,3"}, "names 3 teacher layers, 2 layers of the student learn"),
        ({}, {"kd_encoder_layer_map": "all"}, "cannot be read"),
        ({}, {"kd_projection": "none"}, "width 4 and 6, and --kd-projection none"),
        ({"student": describe("student", heads=4)}, {}, "4 and 2 attention heads, .*-attention-weight 0"),
        (
            {"student": dataclasses.replace(STUDENT, vocabulary=11)},
            {},
            "student chooses from 11 tokens and teacher m.pt from 9",
        ),
        ({"student": dataclasses.replace(STUDENT, tokenizer="other")}, {}, "tokenizers differ"),
        ({}, {"kd_hidden_weight": -1.0}, "hidden_state_kd: --kd-hidden-weight is -1.0"),
        ({}, {"kd_encoder_layer_map": "none", "kd_decoder_layer_map": "none"}, "both layer maps are none"),
        (
            {},
            {"kd_decoder_layer_map": "none", "kd_hidden_weight": 0.0, "kd_attention_weight": 0.0},
            "--kd-cross-attention-weight 1 alone reads the decoder, and --kd-decoder-layer-map is none",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(pair, settings, message):
    with pytest.raises(UserError, match=message):
        make(**pair, **settings)


def test_equal_widths_need_no_projection():
    criterion, needs, module = make(teacher=describe("teacher", (4, 3)), kd_projection="none", kd_alpha=0.0)
    assert module is None
    same = inside(needs.student, 4, 10, logits=Student().logits())
    teacher = dataclasses.replace(
        same,
        hidden_states={2: same.hidden_states[1], 3: same.hidden_states[2]},
        attention_scores={2: same.attention_scores[1], 3: same.attention_scores[2]},
        cross_attention_scores={2: same.cross_attention_scores[1], 3: same.cross_attention_scores[2]},
        encoder=dataclasses.replace(
            same.encoder,
            hidden_states={2: same.encoder.hidden_states[1], 4: same.encoder.hidden_states[2]},
            attention_scores={2: same.encoder.attention_scores[1], 4: same.encoder.attention_scores[2]},
        ),
    )
    output = criterion.training_loss(same, TARGET, TeacherSignal((teacher,)))
    assert not any(
        output.terms[name].total for name in output.terms if name not in ("nll_loss", "hard_loss", "kd_loss")
    )


def test_signature():
    config = HiddenStateConfig(kd_encoder_layer_map="2,4", kd_cross_attention_weight=0.0)
    assert config.signature() == "kd:hidden_state|layers:2,4/uniform|weights:1,1,0|k:8|T:10|alpha:0.5"
