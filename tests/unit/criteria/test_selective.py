"""selective_kd against a loop over tokens in float64, on several batches in a row, and its limits."""

import math

import pytest
import torch
from soft_target_batch import PAD, TARGET, TOP_K, VALID, Student, losses, make_teacher

from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.selective import SelectiveConfig, SelectiveKD
from cmlm_kd.criteria.soft_target import SoftTargetConfig, teacher_distribution
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import label_smoothed_nll
from cmlm_kd.losses.projection import projected_loss
from cmlm_kd.losses.selection import BatchGate, ConfidenceGate, QueueGate, SelectiveBlocks
from cmlm_kd.losses.soft_targets import TeacherDistribution

SIGNAL = TeacherSignal(soft_targets=make_teacher())


def make(**settings):
    return SelectiveKD(SelectiveConfig(**{"kd_topk": TOP_K, "kd_temperature": 4.0, **settings}), PAD)


def batches():
    """Students that grow surer, so that the gate of a batch is never that of the one before."""
    return [Student(scale=scale) for scale in (0.2, 1.0, 0.6, 3.0)]


def by_loop(config, students):
    """The loss of each batch, token by token, the tokens that listen written out."""
    queue, found = [], []
    for student in students:
        log_probs = student.logits().flatten(0, 1).log_softmax(-1)
        heated = (student.logits() / config.kd_temperature).flatten(0, 1).log_softmax(-1)
        hinton = config.kd_convention == "hinton"
        teacher = teacher_distribution(
            make_teacher().flatten(), TOP_K, config.kd_temperature,
            bucket=config.kd_tail == "bucket", dtype=torch.float64,
        )  # fmt: skip
        real = [i for i, label in enumerate(TARGET.flatten().tolist()) if label != PAD]
        candidates = [i for i in real if VALID.flatten()[i]]
        nll = {i: -log_probs[i, TARGET.flatten()[i]] for i in real}
        batch = [nll[i].item() for i in candidates]
        if config.kd_selection == "confidence":
            gate = -math.log(config.kd_threshold)
        else:
            if config.kd_selection == "global":
                queue = (queue + batch)[-config.kd_queue :]
            pool = batch if config.kd_selection == "batch" else queue
            gate = sorted(pool, reverse=True)[math.ceil(len(pool) * config.kd_share) - 1]
        total = log_probs.new_zeros(())
        for i in real:
            hard = label_smoothed_nll(log_probs[i : i + 1], TARGET.flatten()[i : i + 1], 0.1, "fairseq")[0]
            if i not in candidates or nll[i].item() < gate:
                total = total + hard
                continue
            said = heated[i] if hinton else log_probs[i]
            kd = -sum(q * said[entry] for q, entry in zip(teacher.probs[i], teacher.ids[i], strict=True))
            if teacher.outside is not None:
                rest = [v for entry, v in enumerate(said.exp()) if entry not in teacher.ids[i].tolist()]
                kd = kd - teacher.outside[i] * torch.log(sum(rest))
            kd = kd * (config.kd_temperature**2 if hinton else 1.0)
            weight = 1.0 if config.kd_combination == "added" else 1.0 - config.kd_alpha
            total = total + weight * hard + config.kd_alpha * kd
        found.append(total)
    return found


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kd_selection": "confidence", "kd_threshold": 0.1},
        {"kd_selection": "confidence", "kd_threshold": 0.05, "kd_combination": "added"},
        {"kd_selection": "batch"},
        {"kd_selection": "batch", "kd_share": 0.3, "kd_combination": "added", "kd_alpha": 1.0},
        {"kd_selection": "batch", "kd_tail": "bucket"},
        {"kd_selection": "global", "kd_queue": 10, "kd_convention": "hinton", "kd_alpha": 0.3},
        {"kd_selection": "global", "kd_queue": 10, "kd_combination": "added", "kd_tail": "bucket"},
        {"kd_selection": "global", "kd_convention": "hinton", "kd_tail": "bucket", "kd_share": 0.2},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_value_and_gradient_against_a_loop(settings, implementation):
    criterion, students = make(**settings), batches()
    listened = set()
    for student, expected in zip(students, by_loop(criterion.config, students), strict=True):
        output = criterion.training_loss(student.output(implementation), TARGET, SIGNAL)
        torch.testing.assert_close(output.loss, expected)
        for actual, wanted in zip(student.gradients(output.loss), student.gradients(expected), strict=True):
            torch.testing.assert_close(actual, wanted)
        listened.add(output.counts["kd_tokens"].item())
    assert max(listened) > 0 and min(listened) < 6  # somebody listens, and never all


def test_fused_mends_its_guess(monkeypatch):
    """With another share of unsure tokens in each batch, the guess is wrong somewhere; without, nowhere."""
    from cmlm_kd.losses import selection

    mended = []
    mend = selection.SelectiveBlocks.mend
    monkeypatch.setattr(
        selection.SelectiveBlocks,
        "mend",
        lambda self: mended.append(result := mend(self)) or result,
    )
    criterion = make(kd_selection="batch")
    for student in [*batches(), batches()[-1]]:
        criterion.training_loss(student.output("fused"), TARGET, SIGNAL)
    assert [result is None for result in mended][-1] and any(result is not None for result in mended)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize(
    "everybody", [{"kd_selection": "batch"}, {}, {"kd_selection": "confidence", "kd_threshold": 1.0}]
)
def test_where_everybody_listens_it_is_soft_target_kd(everybody, implementation):
    criterion, student = make(kd_share=1.0, **everybody), Student()
    output = criterion.training_loss(student.output(implementation), TARGET, SIGNAL)
    assert output.loss.item() == pytest.approx(losses(student), rel=1e-12)
    assert output.counts["kd_tokens"] == output.terms["kd_share"].count == 6


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_terms_and_gate_are_logged(implementation):
    criterion, student = make(kd_selection="batch", kd_share=0.5, kd_report_kl=True), Student()
    output = criterion.training_loss(student.output(implementation), TARGET, SIGNAL)
    counts = {name: term.count.item() for name, term in output.terms.items()}
    assert counts == {"nll_loss": 9, "hard_loss": 9, "kd_loss": 3, "kd_share": 6, "kd_gate": 1, "kd_kl": 3}
    assert output.terms["kd_share"].total == output.counts["kd_tokens"] == 3
    nll = torch.nn.functional.cross_entropy(
        student.logits().flatten(0, 1), TARGET.flatten(), ignore_index=PAD, reduction="none"
    )
    third = nll[(VALID & TARGET.ne(PAD)).flatten()].sort(descending=True).values[2]
    torch.testing.assert_close(output.terms["kd_gate"].total, third.detach())


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_a_batch_without_a_teacher_is_trained_on_hard_labels(implementation):
    student, nobody = Student(), TeacherSignal(soft_targets=make_teacher(valid=torch.zeros_like(VALID)))
    for settings in ({}, {"kd_selection": "confidence"}, {"kd_selection": "batch"}):
        output = make(**settings).training_loss(student.output(implementation), TARGET, nobody)
        assert output.loss.item() == pytest.approx(losses(student, kd_alpha=0.0))
        assert output.counts["kd_tokens"] == 0 and output.terms["kd_share"].count == 0
    hard = make(kd_alpha=0.0).training_loss(student.output(implementation), TARGET, None)
    assert hard.loss.item() == pytest.approx(losses(student, kd_alpha=0.0))


def test_validation_does_not_move_the_gate():
    criterion, student = make(), Student()
    criterion.training_loss(student.output("fused"), TARGET, SIGNAL)
    gate = criterion._gate.expected
    criterion.validation_loss(Student(scale=5.0).output("fused"), TARGET)
    assert criterion._gate.expected is gate


def test_queues_drop_what_they_say():
    """fifo keeps the last values; original, as the released code, drops a batch when it would be full."""
    fifo, original = QueueGate(0.5, 5), QueueGate(0.5, 5, "original")
    for start in (0.0, 2.0, 4.0, 6.0):
        values = torch.tensor([start, start + 1])
        fifo.of(values), original.of(values)
    assert fifo.queue.tolist() == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert original.queue.tolist() == [4.0, 5.0, 6.0, 7.0]
    assert fifo.expected == 5.0 and original.expected == 6.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd_share": 0.0}, r"selective_kd: --kd-share is 0.0; it must be in \(0, 1\]"),
        ({"kd_share": 1.5}, "--kd-share is 1.5"),
        ({"kd_share": math.nan}, "--kd-share is nan"),
        ({"kd_threshold": 0.0}, r"--kd-threshold is 0.0; it must be in \(0, 1\]"),
        ({"kd_queue": 0}, "--kd-queue is 0; it must be from 1 to 10,000,000"),
        ({"kd_alpha": 2.0}, "selective_kd: --kd-alpha is 2.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        SelectiveConfig(**settings)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
def test_a_threshold_that_no_token_passes_is_refused_at_the_first_batch(implementation):
    criterion = make(kd_selection="confidence", kd_threshold=1e-6)
    with pytest.raises(
        UserError, match=r"--kd-threshold 1e-06: none of the 6 tokens .*the least has 0\.0004"
    ):
        criterion.training_loss(Student().output(implementation), TARGET, SIGNAL)
    later = make(kd_selection="confidence", kd_threshold=0.05)
    later.training_loss(Student(scale=3.0).output(implementation), TARGET, SIGNAL)
    # Sure of everything later on is what training is for.
    assert heard(later, implementation) == 0


def heard(criterion, implementation="dense"):
    """Return how many tokens listen of a student that finds all 9 entries equally likely."""
    student = Student()
    student.weight, student.bias = torch.zeros_like(student.weight).requires_grad_(), None
    return criterion.training_loss(student.output(implementation), TARGET, SIGNAL).counts["kd_tokens"]


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        (
            {"kd_selection": "confidence", "kd_threshold": 0.2},
            r"--kd-threshold 0\.05 \(0\.2 before\): none of",
        ),
        (
            {"kd_selection": "global", "kd_threshold": 0.05},
            r"0\.05 \(--kd-selection global before\): none of",
        ),
        ({"kd_selection": "confidence", "kd_threshold": 0.05}, None),
        ({"kd_selection": "confidence", "kd_threshold": 0.01}, None),
        ({}, None),
    ],
)
def test_a_lower_threshold_is_looked_at_when_a_training_goes_on(implementation, earlier, message):
    criterion = make(kd_selection="confidence", kd_threshold=0.05)
    criterion.resume(earlier)
    criterion.begin_update(7)
    if message is None:
        assert heard(criterion, implementation) == 0
        return
    with pytest.raises(UserError, match=message):
        heard(criterion, implementation)
    criterion.begin_update(8)  # once is enough
    assert heard(criterion, implementation) == 0


def test_other_selections_go_on_without_being_looked_at():
    criterion = make(kd_selection="batch", kd_share=0.01)
    criterion.resume({"kd_selection": "confidence", "kd_threshold": 0.9})
    criterion.begin_update(7)
    assert heard(criterion) > 0


def test_other_refusals_name_this_criterion():
    with pytest.raises(UserError, match="selective_kd: --kd-topk is 4, but the teacher gives k = 3"):
        make(kd_topk=4).training_loss(Student().output("fused"), TARGET, SIGNAL)
    with pytest.raises(UserError, match="selective_kd: the training batch has no teacher"):
        make().training_loss(Student().output("fused"), TARGET, None)


def test_a_batch_of_padding_has_no_loss():
    student = Student()
    output = make().training_loss(student.output("fused"), torch.full_like(TARGET, PAD), SIGNAL)
    assert output.loss.item() == 0.0 and output.terms["kd_gate"].count == 0


def test_sureness_is_the_students_own_not_the_teachers():
    """Another teacher changes what is said to the tokens that listen, never which they are."""
    student, other = Student(), make_teacher()
    shuffled = type(other)(other.ids, other.logits.flip(-1), other.tail, other.valid, other.tail_temperatures)
    criterion = make(kd_selection="batch")
    first = criterion.training_loss(student.output("fused"), TARGET, SIGNAL)
    second = criterion.training_loss(student.output("fused"), TARGET, TeacherSignal(soft_targets=shuffled))
    assert first.counts == second.counts
    assert first.terms["kd_gate"].total == second.terms["kd_gate"].total
    assert first.loss != second.loss


def test_signatures():
    rest = "|k:8|T:10|alpha:0.5"
    assert SelectiveConfig().signature() == f"kd:selective|on:global|share:0.5|queue:30000{rest}"
    given = SelectiveConfig(kd_selection="confidence", kd_combination="added", kd_tail="bucket")
    assert given.signature() == f"kd:selective|on:confidence|threshold:0.5|added{rest}|tail:bucket"
    assert SoftTargetConfig().signature() == f"kd:soft_target{rest}"


@pytest.mark.parametrize("added", [False, True])
def test_logits_in_bfloat16_are_selected_by_too(monkeypatch, added):
    """Where the loss works on bfloat16 itself, as on float32 blocks; a known batch needs no mending."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 8, generator=generator).requires_grad_()
    weight = torch.randn(300, 8, generator=generator).requires_grad_()
    target = torch.randint(300, (500,), generator=generator)
    ids = torch.randint(300, (500, 4), generator=generator)
    teacher = TeacherDistribution(ids, torch.randn(500, 4, generator=generator).softmax(1), None)
    taught, rest = torch.arange(500) % 5 > 0, {"smoothing": (0.9, 0.1 / 300), "vocabulary": 300}
    mend, mended, found = SelectiveBlocks.mend, [], []

    def count(blocks):
        lacking = mend(blocks)
        mended.append(0 if lacking is None else len(lacking[0]))
        return lacking

    monkeypatch.setattr(SelectiveBlocks, "mend", count)
    for threshold in (128, 10_000):
        monkeypatch.setattr("cmlm_kd.losses.soft_targets.ANCHORS", threshold)
        gate = BatchGate(0.5)
        for _ in range(2):
            blocks = SelectiveBlocks(target, teacher, taught, gate, alpha=0.7, added=added, **rest)
            with torch.autocast("cpu", torch.bfloat16):
                loss = projected_loss(features, weight, None, blocks)
        assert mended.pop() == 0 < mended.pop() and 150 < int(blocks.listening.sum()) < 250
        found.append((loss, *torch.autograd.grad(loss, (features, weight))))
    narrow, wide = found
    torch.testing.assert_close(narrow[0], wide[0], rtol=1e-3, atol=0)
    for ours, theirs in zip(narrow[1:], wide[1:], strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-2


def test_a_student_that_is_sure_in_bfloat16_listens_where_everybody_does():
    """An estimated normaliser gives a gold entry no probability above 1, which would be no threshold's."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(300, (500,), generator=generator)
    weight = torch.randn(300, 64, generator=generator).bfloat16()
    features = (0.5 * weight[target].float()).bfloat16()
    teacher = TeacherDistribution(target.unsqueeze(1), torch.ones(500, 1), None)
    blocks = SelectiveBlocks(
        target, teacher, torch.arange(500) % 5 > 0, ConfidenceGate(1.0),
        alpha=0.5, added=False, smoothing=(1.0, 0.0), vocabulary=300,
    )  # fmt: skip
    projected_loss(features, weight, None, blocks)
    assert (blocks.nll >= 0).all() and float(blocks.nll.median()) < 0.01
    assert int(blocks.listening.sum()) == 400
