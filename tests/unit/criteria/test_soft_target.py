"""soft_target_kd against a loop over tokens and entries in float64, and its limits."""

import dataclasses
import itertools
import math

import pytest
import torch
from soft_target_batch import (
    LENGTH,
    PAD,
    SENTENCES,
    TARGET,
    TEMPERATURES,
    TOP_K,
    VALID,
    VOCABULARY,
    WIDTH,
    Student,
    losses,
    make_criterion,
    make_teacher,
    random,
)

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.criteria.soft_target import SoftTargetConfig


def by_loop(config, logits, target, teacher):
    """The loss, entry by entry."""
    total = logits.new_zeros(())
    temperature = config.kd_temperature
    for sentence, place in itertools.product(range(SENTENCES), range(LENGTH)):
        label = target[sentence, place].item()
        if label == PAD:
            continue
        z = list(logits[sentence, place])
        p = [torch.exp(a) / sum(torch.exp(b) for b in z) for a in z]
        others = VOCABULARY - (1 if config.label_smoothing_mode == "fairseq" else 2)
        each = config.label_smoothing / others
        own = 1 - config.label_smoothing - (each if config.label_smoothing_mode == "fairseq" else 0)
        hard = -own * torch.log(p[label]) - sum(each * torch.log(value) for value in p)
        if not teacher.valid[sentence, place]:
            total = total + hard
            continue
        kept = [math.exp(t.item() / temperature) for t in teacher.logits[sentence, place][: config.kd_topk]]
        ids = teacher.ids[sentence, place][: config.kd_topk].tolist()
        cut = [math.exp(t.item() / temperature) for t in teacher.logits[sentence, place][config.kd_topk :]]
        tail = math.exp(teacher.tail[sentence, place, TEMPERATURES.index(temperature)].item()) + sum(cut)
        if config.kd_convention == "hinton":
            heated = [torch.exp(a / temperature) for a in z]
            s, factor = [value / sum(heated) for value in heated], temperature**2
        else:
            s, factor = p, 1.0
        normaliser = sum(kept) + (tail if config.kd_tail == "bucket" else 0.0)
        kd = -sum(q / normaliser * torch.log(s[entry]) for q, entry in zip(kept, ids, strict=True))
        if config.kd_tail == "bucket":
            rest = sum(value for entry, value in enumerate(s) if entry not in ids)
            kd = kd - tail / normaliser * torch.log(rest)
        total = total + (1 - config.kd_alpha) * hard + config.kd_alpha * factor * kd
    return total


OPTIONS = {
    "kd_alpha": (0.0, 0.3, 1.0),
    "kd_temperature": TEMPERATURES,
    "kd_topk": (1, TOP_K),
    "kd_convention": ("teacher", "hinton"),
    "kd_tail": ("drop", "bucket"),
    "label_smoothing": (0.0, 0.1),
    "label_smoothing_mode": ("fairseq", "original"),
}
COMBINATIONS = [dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())]


@pytest.mark.parametrize(
    "settings", COMBINATIONS[::5], ids=lambda settings: "-".join(map(str, settings.values()))
)
def test_value_and_gradient_against_a_loop(settings):
    """Every fifth combination (5 divides no number of choices, so that all pairs of choices occur)."""
    criterion, student, teacher = make_criterion(**settings), Student(), make_teacher()
    expected = by_loop(criterion.config, student.logits(), TARGET, teacher)
    expected_gradients = student.gradients(expected)
    for implementation in ("dense", "fused"):
        loss = criterion.training_loss(
            student.output(implementation), TARGET, TeacherSignal(soft_targets=teacher)
        ).loss
        torch.testing.assert_close(loss, expected)
        for actual, wanted in zip(student.gradients(loss), expected_gradients, strict=True):
            torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize(("bias", "repeated", "step"), [(True, False, 1), (False, False, 5), (True, True, 5)])
def test_fused_equals_dense_for_every_combination(bias, repeated, step):
    """Also without a bias, and where an entry comes twice in a row."""
    student, teacher = Student(bias), make_teacher(repeated=repeated)
    for settings in COMBINATIONS[::step]:
        criterion = make_criterion(**settings, kd_report_kl=True)
        dense = criterion.training_loss(student.output("dense"), TARGET, TeacherSignal(soft_targets=teacher))
        fused = criterion.training_loss(student.output("fused"), TARGET, TeacherSignal(soft_targets=teacher))
        torch.testing.assert_close(fused.loss, dense.loss)
        for actual, wanted in zip(student.gradients(fused.loss), student.gradients(dense.loss), strict=True):
            torch.testing.assert_close(actual, wanted, msg=lambda text, at=settings: f"{at}: {text}")
        assert fused.terms.keys() == dense.terms.keys()
        for name, term in dense.terms.items():
            torch.testing.assert_close(fused.terms[name].total, term.total)
            assert fused.terms[name].count == term.count
        assert fused.counts == dense.counts


def test_alpha_zero_is_label_smoothed_cross_entropy_of_fairseq():
    from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

    student = Student()
    log_probs = student.logits().log_softmax(-1).flatten(0, 1)
    expected, nll = label_smoothed_nll_loss(log_probs, TARGET.flatten(), 0.1, ignore_index=PAD)
    assert losses(student, kd_alpha=0.0) == pytest.approx(expected.item(), rel=1e-12)
    output = make_criterion(kd_alpha=0.0).training_loss(student.output("fused"), TARGET, None)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert output.terms["nll_loss"].total.item() == pytest.approx(nll.item(), rel=1e-12)


def test_alpha_one_reads_labels_only_where_there_is_no_teacher():
    everywhere = make_teacher(valid=TARGET.ne(PAD))
    other_labels = torch.where(TARGET.eq(PAD), PAD, 2)
    assert losses(kd_alpha=1.0, teacher=everywhere) == pytest.approx(
        losses(kd_alpha=1.0, teacher=everywhere, target=other_labels)
    )


def test_with_all_entries_it_is_full_cross_entropy():
    """k = V, T = 1: cross entropy with the teacher's whole distribution, as torch computes it."""
    student, full = Student(), 3 * random(SENTENCES, LENGTH, VOCABULARY, seed=1)
    expected = torch.nn.functional.cross_entropy(
        student.logits()[TARGET.ne(PAD)], full.softmax(-1)[TARGET.ne(PAD)], reduction="sum"
    )
    settings = {"kd_alpha": 1.0, "kd_temperature": 1.0, "kd_topk": VOCABULARY}
    assert losses(student, teacher=full_teacher(), **settings) == pytest.approx(expected.item())


def test_conventions_agree_at_temperature_one():
    settings = {"kd_temperature": 1.0}
    assert losses(kd_convention="hinton", **settings) == pytest.approx(losses(**settings))


def full_teacher():
    logits, ids = (3 * random(SENTENCES, LENGTH, VOCABULARY, seed=1)).sort(dim=-1, descending=True)
    return SoftTargets(ids, logits, torch.zeros(SENTENCES, LENGTH, 0), TARGET.ne(PAD), ())


def test_hinton_keeps_the_size_of_the_gradient():
    """For that T^2 is there: without it a temperature ten times as high divides the gradient by a hundred."""
    student, sizes = Student(), []
    for temperature in (100.0, 1000.0):
        settings = {"kd_convention": "hinton", "kd_temperature": temperature, "kd_topk": VOCABULARY}
        criterion = make_criterion(kd_alpha=1.0, **settings)
        loss = criterion.training_loss(
            student.output("fused"), TARGET, TeacherSignal(soft_targets=full_teacher())
        ).loss
        sizes.append(student.gradients(loss)[1].norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_padding_leaves_everything_unchanged(implementation):
    criterion, student, teacher = make_criterion(), Student(), make_teacher()
    output = criterion.training_loss(
        student.output(implementation), TARGET, TeacherSignal(soft_targets=teacher)
    )
    gradient = student.gradients(output.loss)[1]

    wider = Student()
    noise = 100 * random(SENTENCES, 3, WIDTH, seed=9)
    wider.features = torch.cat((student.features.detach(), noise), 1).requires_grad_()
    target = torch.nn.functional.pad(TARGET, (0, 3), value=PAD)
    garbage = torch.full((SENTENCES, 3, TOP_K), math.nan, dtype=torch.float64)
    padded = SoftTargets(
        torch.nn.functional.pad(teacher.ids, (0, 0, 0, 3)),
        torch.cat((teacher.logits, garbage), 1),
        torch.nn.functional.pad(teacher.tail, (0, 0, 0, 3)),
        torch.nn.functional.pad(
            teacher.valid, (0, 3), value=True
        ),  # padding counts for nothing, valid or not
        TEMPERATURES,
    )
    padded.logits[~torch.nn.functional.pad(TARGET.ne(PAD), (0, 3))] = 0.0
    again = criterion.training_loss(wider.output(implementation), target, TeacherSignal(soft_targets=padded))
    torch.testing.assert_close(again.loss, output.loss)
    torch.testing.assert_close(wider.gradients(again.loss)[1], gradient)
    assert torch.equal(wider.gradients(again.loss)[0][:, LENGTH:], torch.zeros_like(noise))
    assert again.counts == output.counts
    for name, term in output.terms.items():
        torch.testing.assert_close(again.terms[name].total, term.total)
        assert again.terms[name].count == term.count


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_what_rows_without_a_teacher_hold_does_not_matter(implementation):
    """Not even NaN, in value or gradient (a product with 0 would keep it)."""
    criterion, student, teacher = make_criterion(kd_tail="bucket"), Student(), make_teacher()
    clean = criterion.training_loss(
        student.output(implementation), TARGET, TeacherSignal(soft_targets=teacher)
    ).loss
    dirty = dataclasses.replace(
        teacher,
        ids=teacher.ids.masked_fill(~VALID.unsqueeze(-1), 10**6),
        logits=teacher.logits.masked_fill(~VALID.unsqueeze(-1), math.nan),
        tail=teacher.tail.masked_fill(~VALID.unsqueeze(-1), -math.inf),
    )
    loss = criterion.training_loss(
        student.output(implementation), TARGET, TeacherSignal(soft_targets=dirty)
    ).loss
    assert torch.equal(loss, clean)
    for actual, wanted in zip(student.gradients(loss), student.gradients(clean), strict=True):
        assert torch.equal(actual, wanted)


def test_order_of_the_batch_does_not_matter():
    order, teacher, student = torch.tensor([2, 0, 1]), make_teacher(), Student()
    shuffled = SoftTargets(
        *(getattr(teacher, n)[order] for n in ("ids", "logits", "tail", "valid")), TEMPERATURES
    )
    other = Student()
    other.features = student.features.detach()[order].requires_grad_()
    assert losses(other, target=TARGET[order], teacher=shuffled) == pytest.approx(losses(student))


def test_gradient_accumulation_is_the_whole_batch():
    """Micro-batches of different numbers of tokens: sums divided once, not a mean of means."""
    criterion, student, teacher = make_criterion(), Student(), make_teacher()
    whole = criterion.training_loss(student.output("fused"), TARGET, TeacherSignal(soft_targets=teacher))
    tokens = whole.terms["nll_loss"].count
    assert tokens == TARGET.ne(PAD).sum()
    expected = student.gradients(whole.loss / tokens)[1]
    parts, counted = torch.zeros_like(expected), 0
    for row in range(SENTENCES):
        one = slice(row, row + 1)
        part = SoftTargets(
            *(getattr(teacher, n)[one] for n in ("ids", "logits", "tail", "valid")), TEMPERATURES
        )
        output = criterion.training_loss(
            ModelOutput(features=student.features[one], weight=student.weight, bias=student.bias),
            TARGET[one],
            TeacherSignal(soft_targets=part),
        )
        parts += torch.autograd.grad(output.loss, student.weight)[0]
        counted += output.terms["nll_loss"].count
    torch.testing.assert_close(parts / counted, expected)


def test_terms_and_counts():
    output = make_criterion(kd_report_kl=True).training_loss(
        Student().output("fused"), TARGET, TeacherSignal(soft_targets=make_teacher())
    )
    counts = {name: term.count.item() for name, term in output.terms.items()}
    assert counts == {"nll_loss": 9, "hard_loss": 9, "kd_loss": 6, "kd_kl": 6}
    assert {name: count.item() for name, count in output.counts.items()} == {
        "kd_tokens": 6,
        "without_teacher": 1,
    }
    assert not any(term.total.requires_grad for term in output.terms.values())


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize("tail", ["drop", "bucket"])
@pytest.mark.parametrize("convention", ["teacher", "hinton"])
def test_reported_divergence_is_a_true_one(implementation, tail, convention):
    """Zero when the student agrees with the teacher, where the cross entropy is not; positive otherwise."""
    temperature = 4.0
    full = 3 * random(SENTENCES, LENGTH, VOCABULARY, seed=1)
    if tail == "drop":  # a teacher that believes in its k entries alone
        full = full.masked_fill(full < full.topk(TOP_K).values[..., -1:], -400.0)
    agreeing = full if convention == "hinton" else full / temperature
    logits = agreeing if implementation == "dense" else agreeing.clone()
    if implementation == "dense":
        student = ModelOutput(logits=logits)
    else:
        student = ModelOutput(features=logits, weight=torch.eye(VOCABULARY, dtype=torch.float64))
    criterion = make_criterion(kd_report_kl=True, kd_tail=tail, kd_convention=convention)
    output = criterion.training_loss(student, TARGET, TeacherSignal(soft_targets=make_teacher()))
    assert output.terms["kd_kl"].total.item() == pytest.approx(0.0, abs=1e-9)
    assert output.terms["kd_loss"].total.item() > 1.0
    differing = criterion.training_loss(
        Student().output(implementation), TARGET, TeacherSignal(soft_targets=make_teacher())
    )
    assert differing.terms["kd_kl"].total.item() > 0.1


def test_bucket_is_exact_for_a_student_that_is_sure():
    """The mass outside, far below float32's resolution of 1, still has a value and a gradient."""
    logits = torch.tensor([[[40.0, 0.0, 0.0, -1.0, -2.0]]], requires_grad=True)
    teacher = SoftTargets(
        torch.tensor([[[0]]]),
        torch.tensor([[[2.0]]]),
        torch.tensor([[[1.0]]]),
        torch.tensor([[True]]),
        (1.0,),
    )
    criterion = make_criterion(kd_alpha=1.0, kd_topk=1, kd_temperature=1.0, kd_tail="bucket")
    target = torch.tensor([[0]])
    q = torch.tensor([2.0, 1.0]).softmax(0)
    rest = torch.tensor([0.0, 0.0, -1.0, -2.0]).logsumexp(0) - 40.0
    fused = criterion.training_loss(
        ModelOutput(features=logits, weight=torch.eye(5)), target, TeacherSignal(soft_targets=teacher)
    ).loss
    dense = criterion.training_loss(
        ModelOutput(logits=logits), target, TeacherSignal(soft_targets=teacher)
    ).loss
    assert fused.item() == pytest.approx((-q[1] * rest).item())
    assert dense.item() == pytest.approx(fused.item())
    for loss in (fused, dense):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient[0, 0, 0].item() == pytest.approx(q[1].item())  # 1 - q[0]


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_validation_loss_is_the_plain_nll(implementation):
    student = Student()
    output = make_criterion().validation_loss(student.output(implementation), TARGET)
    expected = torch.nn.functional.cross_entropy(
        student.logits().flatten(0, 1), TARGET.flatten(), ignore_index=PAD, reduction="sum"
    )
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.terms["nll_loss"].total, expected)
    assert output.terms.keys() == {"nll_loss"}


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_a_batch_of_padding_has_no_loss_and_zero_gradients(implementation):
    student = Student()
    target = torch.full_like(TARGET, PAD)
    output = make_criterion().training_loss(
        student.output(implementation), target, TeacherSignal(soft_targets=make_teacher())
    )
    assert output.loss.item() == 0.0
    assert output.counts["kd_tokens"] == 0 and output.counts["without_teacher"] == 0
    for gradient in student.gradients(output.loss):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_half_precision_is_left_before_the_loss(implementation):
    """float16 teacher values and bfloat16 logits: the loss is that of the same numbers in float32."""
    teacher, criterion = make_teacher(), make_criterion(kd_tail="bucket")
    half = dataclasses.replace(teacher, logits=teacher.logits.half(), tail=teacher.tail.half())
    wide = dataclasses.replace(half, logits=half.logits.double(), tail=half.tail.double())
    logits = (3 * random(SENTENCES, LENGTH, VOCABULARY, seed=5)).bfloat16()
    if implementation == "dense":
        student = ModelOutput(logits=logits)
    else:
        student = ModelOutput(features=logits, weight=torch.eye(VOCABULARY, dtype=torch.bfloat16))
    loss = criterion.training_loss(student, TARGET, TeacherSignal(soft_targets=half)).loss
    expected = criterion.training_loss(
        ModelOutput(logits=logits.double()), TARGET, TeacherSignal(soft_targets=wide)
    ).loss
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_signature():
    assert SoftTargetConfig().signature() == "kd:soft_target|k:8|T:10|alpha:0.5"
    other = SoftTargetConfig(kd_tail="bucket", label_smoothing=0.2, kd_temperature=2.5)
    assert other.signature() == "kd:soft_target|k:8|T:2.5|alpha:0.5|tail:bucket|ls:0.2"
