"""tie_kd against a loop over tokens and entries in float64, on gold targets and the student's own, and its
limits."""

import math
from dataclasses import replace

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import LOGITS, PROBABILITIES, ModelDescription, check_needs
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.tie import TieConfig, TieKD
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import label_smoothed_nll

PAD, EOS, VOCABULARY, WIDTH = 1, 2, 9, 5
TARGET = torch.tensor([[4, 7, 8, EOS], [3, 5, EOS, PAD], [6, EOS, PAD, PAD]])
LEFT_PADDED = torch.tensor([[4, 7, 8, EOS], [PAD, 3, 5, EOS], [PAD, PAD, 6, EOS]])
FORMS = pytest.mark.parametrize("implementation", ["dense", "fused"])


def random(*shape, seed):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Translator:
    """Hidden states that depend on the token before and the position, and an output layer."""

    def __init__(self, seed, scale=1.0, bias=True):
        self.after = (scale * random(VOCABULARY, WIDTH, seed=seed)).requires_grad_()
        self.at = random(4, WIDTH, seed=seed + 1).requires_grad_()
        self.weight = random(VOCABULARY, WIDTH, seed=seed + 2).requires_grad_()
        self.bias = random(VOCABULARY, seed=seed + 3).requires_grad_() if bias else None
        self.asked = []

    def features(self, target):
        self.asked.append(target.tolist())
        before = target.roll(1, 1)  # (B, T)
        before[:, 0] = EOS
        return self.after[before] + self.at  # (B, T, d)

    def project(self, features):
        return torch.nn.functional.linear(features, self.weight, self.bias)

    def output(self, implementation, target=TARGET):
        features = self.features(target)

        def again(said):
            return self.output(implementation, said)

        if implementation == "dense":
            return ModelOutput(logits=self.project(features), again=again)
        return ModelOutput(features=features, weight=self.weight, bias=self.bias, again=again)

    def signal(self, form="features", target=TARGET, taught=None):
        real = target.ne(PAD)  # (B, T)
        if taught is not None:
            real = real & taught[:, None]
        with torch.no_grad():
            features = self.features(target)[real]  # (N, d)
            positions = real.flatten().nonzero().squeeze(1)  # (N,)
            output = ModelOutput(features=features, weight=self.weight, bias=self.bias, positions=positions)
            if form == "logits":
                output = ModelOutput(logits=self.project(features), positions=positions)
        return TeacherSignal((output,), again=lambda said: self.signal(form, said, taught))

    def gradients(self, loss):
        inputs = [value for value in (self.after, self.at, self.weight, self.bias) if value is not None]
        return torch.autograd.grad(loss, inputs, retain_graph=True)


def make(**settings):
    return TieKD(TieConfig(**{"kd_topk": 3, "kd_iterations": 1, **settings}), PAD)


def ranking_by_loop(p, q, k):
    """The ranking loss of a token, pair of entries by pair."""
    mine, theirs = (side.argsort(descending=True)[:k].tolist() for side in (p.detach(), q))
    total = p.new_zeros(())
    for a in theirs:
        if p[a] > p[theirs[0]]:
            total = total + p[a] - p[theirs[0]]
        for b in mine:
            if q[a] > q[b] and p[b] > p[a]:
                total = total + p[b] - p[a]
    return total


def by_loop(config, student, teacher, taught=(True, True, True), taught_later=(True, True, True)):
    """The loss, token by token; a row that is not taught has its hard term alone."""
    target = TARGET
    said, total = target.clone(), torch.zeros((), dtype=torch.float64)
    for iteration in range(config.kd_iterations):
        mine = student.project(student.features(said)).softmax(-1)
        theirs = teacher.project(teacher.features(said)).detach().softmax(-1)
        following = said.clone()
        for row, column in target.ne(PAD).nonzero().tolist():
            p, q, gold = mine[row, column], theirs[row, column], target[row, column]
            if iteration == 0:
                hard = label_smoothed_nll(p.log()[None], gold[None], config.label_smoothing, "fairseq")[0]
                total = total + hard * (1 - config.kd_alpha if taught[row] else 1.0)
            if taught[row] and (iteration == 0 or taught_later[row]):
                added = 1e-6 if config.kd_mode == "original" else 0.0
                divergence = sum(
                    q[v] * (torch.log(q[v] + added) - torch.log(p[v] + added)) for v in range(VOCABULARY)
                )
                kd = divergence + ranking_by_loop(p, q, config.kd_topk)
                total = total + config.kd_alpha * kd / config.kd_iterations
            if gold != EOS:
                best = p.argsort(descending=True).tolist()
                following[row, column] = next(entry for entry in best if entry != PAD)
        said = following
    return total


@FORMS
@pytest.mark.parametrize("form", ["features", "logits"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kd_topk": 1, "kd_alpha": 1.0, "label_smoothing": 0.0},
        {"kd_topk": VOCABULARY, "kd_mode": "original", "kd_alpha": 0.3},
        {"kd_iterations": 3},
        {"kd_iterations": 2, "kd_mode": "original", "kd_topk": 5, "kd_alpha": 0.9},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "default",
)
def test_value_and_gradient_against_a_loop(settings, form, implementation):
    criterion = make(**settings)
    for scale in (0.3, 2.0):
        student, teacher = Translator(0, scale), Translator(10)
        expected = by_loop(criterion.config, student, teacher)
        output = criterion.training_loss(student.output(implementation), TARGET, teacher.signal(form))
        torch.testing.assert_close(output.loss, expected)
        for actual, wanted in zip(student.gradients(output.loss), student.gradients(expected), strict=True):
            torch.testing.assert_close(actual, wanted)
        with pytest.raises(RuntimeError):  # nothing of the loss goes back into the teacher
            teacher.gradients(output.loss)


@FORMS
def test_pairs_that_the_teacher_cannot_read_have_hard_labels(implementation):
    taught = torch.tensor([True, False, True])
    criterion, student, teacher = make(kd_iterations=2), Translator(0), Translator(10)
    for form in ("features", "logits"):
        output = criterion.training_loss(
            student.output(implementation), TARGET, teacher.signal(form, taught=taught)
        )
        expected = by_loop(criterion.config, student, teacher, taught=taught.tolist())
        torch.testing.assert_close(output.loss, expected)
        for actual, wanted in zip(student.gradients(output.loss), student.gradients(expected), strict=True):
            torch.testing.assert_close(actual, wanted)
        assert {name: count.item() for name, count in output.counts.items()} == {
            "kd_tokens": 6,
            "without_teacher": 1,
        }
    nobody = teacher.signal("logits", taught=torch.zeros(3, dtype=torch.bool))
    alone = criterion.training_loss(student.output(implementation), TARGET, nobody)
    hard = make(kd_alpha=0.0).training_loss(student.output(implementation), TARGET, None)
    torch.testing.assert_close(alone.loss, hard.loss)


@FORMS
def test_predictions_that_the_teacher_cannot_read_count_nothing(implementation):
    """Nor do predictions that it could read of a pair whose target it could not."""
    taught, later = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    criterion, student, teacher = make(kd_iterations=3), Translator(0), Translator(10)
    signal = replace(
        teacher.signal(taught=taught), again=lambda said: teacher.signal(target=said, taught=later)
    )
    output = criterion.training_loss(student.output(implementation), TARGET, signal)
    expected = by_loop(criterion.config, student, teacher, taught.tolist(), later.tolist())
    torch.testing.assert_close(output.loss, expected)
    for actual, wanted in zip(student.gradients(output.loss), student.gradients(expected), strict=True):
        torch.testing.assert_close(actual, wanted)
    assert output.counts["kd_tokens"] == 6 and output.terms["kd_kl"].count == 6 + 2 * 4


@FORMS
def test_each_iteration_reads_what_the_one_before_said(implementation):
    student, teacher = Translator(0, 2.0), Translator(10)
    make(kd_iterations=3).training_loss(student.output(implementation), TARGET, teacher.signal())
    assert len(student.asked) == 3 and student.asked == teacher.asked
    assert student.asked[0] == TARGET.tolist() != student.asked[1]
    for before, after in zip(student.asked, student.asked[1:], strict=False):
        best = student.project(student.features(torch.tensor(before))).argsort(-1, descending=True)
        best = torch.where(best[..., 0] == PAD, best[..., 1], best[..., 0])  # (B, T)
        ends = TARGET.le(EOS)  # the end of a row, and padding, stay
        assert after == torch.where(ends, TARGET, best).tolist()


@FORMS
def test_targets_padded_on_the_left(implementation):
    seen = []

    def again(said):
        seen.append(said)
        return replace(student, again=None)

    student = Translator(0).output(implementation, LEFT_PADDED)
    signal = Translator(10).signal(target=LEFT_PADDED)
    make(kd_iterations=2).training_loss(replace(student, again=again), LEFT_PADDED, signal)
    assert seen[0].eq(PAD).equal(LEFT_PADDED.eq(PAD)) and seen[0][:, -1].eq(EOS).all()


@FORMS
def test_padding_is_never_said(implementation):
    """Not even by a student whose best entry it is, with one entry to choose from."""
    student = Translator(0)
    with torch.no_grad():
        student.bias[PAD] = 50.0
    make(kd_iterations=2, kd_topk=1).training_loss(
        student.output(implementation), TARGET, Translator(10).signal()
    )
    assert torch.tensor(student.asked[1]).eq(PAD).equal(TARGET.eq(PAD))


@pytest.mark.parametrize("mode", ["paper", "original"])
@FORMS
def test_gradcheck(implementation, mode):
    criterion, student, teacher = make(kd_mode=mode, kd_iterations=2), Translator(0), Translator(10)

    def loss(after, at, weight, bias):
        moved = Translator(0)
        moved.after, moved.at, moved.weight, moved.bias = after, at, weight, bias
        return criterion.training_loss(moved.output(implementation), TARGET, teacher.signal()).loss

    assert torch.autograd.gradcheck(loss, (student.after, student.at, student.weight, student.bias))


@FORMS
def test_equal_probabilities_and_equal_beliefs(implementation):
    """Where the student finds all entries as likely, nothing is behind, yet each pair pulls by half."""
    student, teacher = Translator(0), Translator(10)
    with torch.no_grad():
        student.weight.zero_()
        student.bias.zero_()
    output = make(kd_alpha=1.0).training_loss(student.output(implementation), TARGET, teacher.signal())
    assert output.terms["ranking_loss"].total.item() == pytest.approx(0.0, abs=1e-12)
    assert all(gradient.isfinite().all() for gradient in student.gradients(output.loss))
    # A student that says what the teacher says has nothing to learn.
    same = Translator(10)
    output = make(kd_alpha=1.0, kd_iterations=2).training_loss(
        same.output(implementation), TARGET, teacher.signal()
    )
    assert output.loss.item() == pytest.approx(0.0, abs=1e-12)
    assert output.terms["agreement"].total == output.terms["agreement"].count == 9
    for gradient in same.gradients(output.loss):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@FORMS
def test_a_teacher_that_rules_entries_out(implementation):
    student, teacher = Translator(0), Translator(10)
    signal = teacher.signal("logits")
    logits = signal.only_output.logits.clone()
    logits[:, 3:6] = -math.inf
    ruled = TeacherSignal((replace(signal.only_output, logits=logits),))
    low = TeacherSignal((replace(signal.only_output, logits=logits.clamp(min=-1e4)),))
    found, wanted = (
        make().training_loss(student.output(implementation), TARGET, each).loss for each in (ruled, low)
    )
    assert found.isfinite()
    torch.testing.assert_close(found, wanted)


@FORMS
def test_without_alpha_it_is_label_smoothed_cross_entropy(implementation):
    student = Translator(0)
    output = make(kd_alpha=0.0).training_loss(student.output(implementation), TARGET, None)
    real = TARGET.ne(PAD)
    log_probs = student.project(student.features(TARGET))[real].log_softmax(-1)
    torch.testing.assert_close(output.loss, label_smoothed_nll(log_probs, TARGET[real], 0.1, "fairseq").sum())
    validation = make().validation_loss(student.output(implementation), TARGET)
    torch.testing.assert_close(
        validation.loss, label_smoothed_nll(log_probs, TARGET[real], 0.0, "fairseq").sum()
    )
    assert set(validation.terms) == {"nll_loss"}


def test_half_precision_features_are_widened():
    student, teacher = Translator(0), Translator(10)
    output = student.output("fused")
    half = replace(
        output, features=output.features.bfloat16(), weight=output.weight.bfloat16(), bias=output.bias.float()
    )
    signal = teacher.signal()
    only = signal.only_output
    narrow = replace(only, features=only.features.float(), weight=only.weight.float(), bias=only.bias.float())
    found = make().training_loss(half, TARGET, TeacherSignal((narrow,))).loss
    wanted = make().training_loss(output, TARGET, signal).loss
    assert found.item() == pytest.approx(wanted.item(), rel=0.02)


DESCRIPTION = ModelDescription("student x", frozenset({LOGITS, PROBABILITIES}), vocabulary=VOCABULARY)
TEACHER = replace(DESCRIPTION, name="teacher y")


def test_what_it_needs():
    needs = make().needs(DESCRIPTION, TEACHER)
    assert needs.teacher.whole_distribution and not needs.student.other_histories
    several = make(kd_iterations=2).needs(DESCRIPTION, TEACHER)
    assert several.student.other_histories and several.teacher.other_histories
    check_needs("tie_kd", several, DESCRIPTION, TEACHER)
    assert make(kd_alpha=0.0).needs(DESCRIPTION, None).teacher is None


def test_refusals():
    with pytest.raises(UserError, match=r"predictions of student x, .* --online-teacher"):
        make().needs(DESCRIPTION, None)
    with pytest.raises(UserError, match=r"--kd-topk is 10, but student x chooses from 9 entries"):
        make(kd_topk=10).needs(DESCRIPTION, TEACHER)
    with pytest.raises(UserError, match=r"the training batch has no teacher; .* --kd-alpha 0"):
        make().training_loss(Translator(0).output("dense"), TARGET, None)
    with pytest.raises(UserError, match="fused does not work here: no decoder"):
        make(kd_implementation="fused").wants_features("no decoder")
    for setting, value in (
        ("kd_alpha", 1.5),
        ("kd_topk", 0),
        ("kd_iterations", 0),
        ("kd_iterations", 101),
        ("label_smoothing", 1.0),
    ):
        with pytest.raises(UserError, match=f"tie_kd: --{setting.replace('_', '-')} is {value}"):
            make(**{setting: value})
    once = replace(Translator(0).output("dense"), again=None)
    with pytest.raises(ValueError, match="tie_kd"):
        make(kd_iterations=2).training_loss(once, TARGET, Translator(10).signal())


def test_signature():
    assert TieConfig().signature() == "kd:tie|k:5|iterations:3|alpha:0.5"
    named = TieConfig(kd_mode="original", label_smoothing=0.2).signature()
    assert named == "kd:tie|k:5|iterations:3|alpha:0.5|mode:original|ls:0.2"
