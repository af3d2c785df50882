"""sparse_kd_loss against the criterion and a loop in float64, values and gradients, and its refusals."""

import pytest
import torch
from soft_target_batch import PAD, TARGET, TEMPERATURES, VALID, Student, make_criterion, make_teacher

from cmlm_kd.api import SoftTargets
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.errors import UserError
from cmlm_kd.losses import IGNORED, sparse_kd_loss

COUNTED = TARGET.ne(PAD)


def loss_of(student, teacher=None, target=TARGET, **settings):
    settings = {"ignore_index": PAD, "reduction": "sum", "temperature": 4.0, **settings}
    return sparse_kd_loss(
        student.features, student.weight, student.bias, target, teacher or make_teacher(), **settings
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.3},
        {"alpha": 1.0, "label_smoothing": 0.2},
        {"alpha": 0.5, "topk": 2, "tail": "bucket"},
        {"alpha": 0.7, "convention": "hinton", "tail": "bucket", "label_smoothing": 0.1},
    ],
)
def test_it_is_the_criterion_s_loss(settings, bias):
    student = Student(bias=bias)
    names = {"alpha": "kd_alpha", "topk": "kd_topk", "tail": "kd_tail", "convention": "kd_convention"}
    config = {names.get(name, name): value for name, value in {"label_smoothing": 0.0, **settings}.items()}
    criterion = make_criterion(**config)
    signal = TeacherSignal(soft_targets=make_teacher())
    dense = criterion.training_loss(student.output("dense"), TARGET, signal).loss
    loss = loss_of(student, **settings)
    torch.testing.assert_close(loss, dense, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(student.gradients(loss), student.gradients(dense), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_by_hand():
    student, teacher, alpha = Student(), make_teacher(), 0.4
    log_probs = student.logits().log_softmax(-1)
    total = 0.0
    for place in COUNTED.nonzero().tolist():
        row = log_probs[tuple(place)]
        hard, soft = -row[TARGET[tuple(place)]], 0.0
        if VALID[tuple(place)]:
            q = (teacher.logits[tuple(place)] / 4.0).softmax(-1)
            soft = -sum(q[j] * row[teacher.ids[tuple(place)][j]] for j in range(len(q)))
            total = total + (1 - alpha) * hard + alpha * soft
        else:
            total = total + hard
    torch.testing.assert_close(loss_of(student, alpha=alpha), total, rtol=1e-12, atol=1e-12)
    mean = loss_of(student, alpha=alpha, reduction="mean")
    torch.testing.assert_close(mean, total / int(COUNTED.sum()), rtol=1e-12, atol=1e-12)


def test_tokens_that_do_not_count():
    """Whatever stands there, in the batch and in the teacher."""
    student, teacher = Student(), make_teacher()
    wanted = loss_of(student)
    teacher.logits[~COUNTED], teacher.ids[~COUNTED] = float("nan"), 1000
    target = TARGET.masked_fill(~COUNTED, IGNORED)
    torch.testing.assert_close(loss_of(student, teacher, target, ignore_index=IGNORED), wanted)


def test_chunks_and_shapes_change_nothing():
    student, teacher = Student(), make_teacher()
    flat = sparse_kd_loss(
        student.features.flatten(0, 1),
        student.weight,
        student.bias,
        TARGET.flatten(),
        teacher.flatten(),
        temperature=4.0,
        ignore_index=PAD,
        reduction="sum",
        chunk=2,
    )
    torch.testing.assert_close(flat, loss_of(student), rtol=1e-12, atol=1e-12)


def test_gold_entries_alone_are_cross_entropy():
    student = Student()
    settings = {"reduction": "mean", "label_smoothing": 0.0}
    wanted = torch.nn.functional.cross_entropy(
        student.logits().flatten(0, 1), TARGET.flatten(), ignore_index=PAD
    )
    alone = sparse_kd_loss(
        student.features, student.weight, student.bias, TARGET, None, ignore_index=PAD, **settings
    )
    torch.testing.assert_close(alone, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss_of(student, alpha=0.0, **settings), wanted, rtol=1e-12, atol=1e-12)


def test_no_token_counts():
    student = Student()
    loss = loss_of(student, target=torch.full_like(TARGET, PAD), reduction="mean")
    assert loss.item() == 0.0
    assert all(not gradient.any() for gradient in student.gradients(loss))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, r"alpha is 1.5; it must be in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0; it must be in \[0, 1\)"),
        ({"topk": 4}, "topk is 4; it must be from 1 to the teacher's 3"),
        ({"topk": 0}, "topk is 0"),
        ({"target": TARGET[:, 1:]}, r"targets is of tokens \(3, 3\), features of \(3, 4\)"),
        ({"teacher": make_teacher().flatten()}, r"soft_targets.valid is of tokens \(12,\)"),
        ({"tail": "bucket", "temperature": 3.0}, f"at temperature 3; it has {TEMPERATURES[0]:g}, "),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(UserError, match=f"sparse_kd_loss: .*{message}"):
        loss_of(Student(), **settings)


def test_a_tail_of_nothing():
    student = Student()
    student.weight = student.weight.detach()[:3]
    with pytest.raises(UserError, match="leaves nothing outside a vocabulary of 3; pass a smaller topk"):
        loss_of(student, tail="bucket")


def test_a_weight_of_another_width():
    student = Student()
    student.weight = student.weight.detach()[:, 1:]
    with pytest.raises(UserError, match=r"features have 5 numbers per token, weight \(9, 4\)"):
        loss_of(student)


@pytest.mark.parametrize("buffer", [1 << 25, 1])
def test_logits_in_bfloat16_are_not_widened_and_lose_nothing(monkeypatch, buffer):
    """Against the same loss with float32 blocks; the teacher lists the gold entry or the likeliest one."""
    monkeypatch.setattr("cmlm_kd.losses.projection.CPU_BUFFER_BYTES", buffer)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 8, generator=generator).requires_grad_()
    weight = torch.randn(300, 8, generator=generator).requires_grad_()
    targets = torch.randint(300, (600,), generator=generator)
    ids = torch.randint(300, (600, 4), generator=generator)
    ids[:, 0] = torch.where(torch.arange(600) < 300, targets, (features @ weight.t()).argmax(1))
    logits = torch.randn(600, 4, generator=generator).half()
    teacher = SoftTargets(ids, logits, torch.zeros(600, 1).half(), torch.arange(600) % 5 > 0)
    found = []
    for threshold in (128, 10_000):
        monkeypatch.setattr("cmlm_kd.losses.soft_targets.ANCHORS", threshold)
        with torch.autocast("cpu", torch.bfloat16):
            loss = sparse_kd_loss(features, weight, None, targets, teacher, label_smoothing=0.1)
        found.append((loss, *torch.autograd.grad(loss, (features, weight))))
    narrow, wide = found
    torch.testing.assert_close(narrow[0], wide[0], rtol=1e-4, atol=0)
    for ours, theirs in zip(narrow[1:], wide[1:], strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 5e-3
