"""Student and teacher projected chunk by chunk against whole matrices of logits, values and gradients."""

import pytest
import torch

from cmlm_kd.criteria.distilbert import kl_term, logits_mse_term, mlm_term
from cmlm_kd.criteria.mobilebert import distillation_term
from cmlm_kd.losses.dense_teacher import DenseTeacherBlocks, TeacherProjection
from cmlm_kd.losses.projection import projected_loss

POSITIONS, ENTRIES, WIDTH, TEACHER_WIDTH = 23, 17, 6, 9
CLOSE = {"atol": 1e-10, "rtol": 1e-10}


def random(*shape, seed, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def student_tensors(positions=POSITIONS, dtype=torch.float64):
    shapes = [(positions, WIDTH), (ENTRIES, WIDTH), (ENTRIES,)]
    return [random(*shape, seed=i, dtype=dtype).requires_grad_() for i, shape in enumerate(shapes)]


def teacher_tensors(positions=POSITIONS, dtype=torch.float64):
    shapes = [(positions, TEACHER_WIDTH), (ENTRIES, TEACHER_WIDTH), (ENTRIES,)]
    return [random(*shape, seed=10 + i, dtype=dtype) for i, shape in enumerate(shapes)]


def weights(positions=POSITIONS, every=3):
    """Every position has its own weight of the soft terms, and every third a hard one."""
    soft = torch.linspace(0.2, 1.5, positions, dtype=torch.float64)
    hard = torch.linspace(0.5, 2.0, positions, dtype=torch.float64)
    hard[torch.arange(positions) % every != 1] = 0.0
    return soft, hard, soft.flip(0) / 10


def targets(positions=POSITIONS):
    target = torch.full((positions,), -100)
    target[1::3] = torch.arange(len(target[1::3])) * 5 % ENTRIES
    return target


def project(features, weight, bias=None):
    logits = features @ weight.t()
    return logits if bias is None else logits + bias


def dense(student, teacher, temperature, with_mse):
    soft, hard, mse = weights()
    masked = hard > 0
    loss = (soft * kl_term(student, teacher, temperature)).sum()
    loss = loss + (hard[masked] * mlm_term(student[masked], targets()[masked])).sum()
    return loss + (mse * logits_mse_term(student, teacher)).sum() if with_mse else loss


def blocks_of(teacher, temperature=1.0, with_mse=False, **more):
    soft, hard, mse = weights()
    return DenseTeacherBlocks(
        TeacherProjection(*teacher),
        targets(),
        soft_weight=soft,
        hard_weight=hard,
        mse_weight=mse if with_mse else None,
        temperature=temperature,
        **more,
    )


@pytest.mark.parametrize("chunk", [None, 1, 5, 23])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("with_mse", [False, True])
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients_are_those_of_the_matrix(chunk, temperature, with_mse, with_bias):
    inputs, teacher = student_tensors(), teacher_tensors()
    if not with_bias:
        inputs, teacher = inputs[:2], teacher[:2]
    blocks = blocks_of(teacher, temperature, with_mse)
    value = projected_loss(*inputs, *([] if with_bias else [None]), blocks, chunk=chunk)
    expected = dense(project(*inputs), project(*teacher), temperature, with_mse)
    torch.testing.assert_close(value, expected, **CLOSE)
    for ours, theirs in zip(
        torch.autograd.grad(3 * value, inputs), torch.autograd.grad(3 * expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_blocks_smaller_than_a_chunk(monkeypatch, temperature):
    monkeypatch.setattr("cmlm_kd.losses.projection.CPU_BLOCK_BYTES", 3 * ENTRIES * 8)
    inputs, teacher = student_tensors(), teacher_tensors()
    value = projected_loss(*inputs, blocks_of(teacher, temperature, with_mse=True), chunk=10)
    expected = dense(project(*inputs), project(*teacher), temperature, with_mse=True)
    torch.testing.assert_close(value, expected, **CLOSE)
    for ours, theirs in zip(
        torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_terms_by_position():
    inputs, teacher = student_tensors(), teacher_tensors()
    blocks = blocks_of(teacher, 2.0, with_mse=True)
    with torch.no_grad():
        value = projected_loss(*inputs, blocks, chunk=5)
        student, teacher = project(*inputs), project(*teacher)
    torch.testing.assert_close(blocks.soft, kl_term(student, teacher, 2.0), **CLOSE)
    torch.testing.assert_close(blocks.mse, logits_mse_term(student, teacher), **CLOSE)
    masked = targets() != -100
    torch.testing.assert_close(blocks.hard[masked], mlm_term(student[masked], targets()[masked]), **CLOSE)
    assert not blocks.hard[~masked].any()
    assert not value.requires_grad


@pytest.mark.parametrize("hard_share", [0.0, 0.3, 1.0])
def test_distillation_term_of_mobilebert(hard_share):
    inputs, teacher = student_tensors(), teacher_tensors()
    target = torch.arange(POSITIONS) % ENTRIES
    share = torch.full((POSITIONS,), hard_share, dtype=torch.float64)
    blocks = DenseTeacherBlocks(
        TeacherProjection(*teacher),
        target,
        soft_weight=1 - share,
        hard_weight=share,
        cross_entropy=True,
    )
    value = projected_loss(*inputs, blocks, chunk=7)
    expected = distillation_term(project(*inputs), project(*teacher).softmax(-1), target, hard_share).sum()
    torch.testing.assert_close(value, expected, **CLOSE)
    for ours, theirs in zip(
        torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_a_student_equal_to_its_teacher_stays():
    inputs = student_tensors()
    zero = torch.zeros(POSITIONS, dtype=torch.float64)
    blocks = DenseTeacherBlocks(
        TeacherProjection(*inputs), targets(), soft_weight=zero + 1, hard_weight=zero, mse_weight=zero + 1
    )
    value = projected_loss(*inputs, blocks)
    assert value.item() == pytest.approx(0.0, abs=1e-12)
    for gradient in torch.autograd.grad(value, inputs):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_the_teacher_gets_no_gradient():
    inputs, teacher = student_tensors(), [values.requires_grad_() for values in teacher_tensors()]
    projected_loss(*inputs, blocks_of(teacher)).backward()
    assert [values.grad for values in teacher] == [None] * 3


def test_a_bias_is_added_once_and_the_teachers_tensors_stay():
    inputs, teacher = student_tensors(), teacher_tensors()
    before = [values.clone() for values in teacher]
    projected_loss(*inputs, blocks_of(teacher, 2.0), chunk=5).backward()
    assert all(values.equal(old) for values, old in zip(teacher, before, strict=True))


def test_never_holds_a_matrix(monkeypatch):
    """Neither side's logits are more than a chunk, and no block of either lives on its own."""
    sizes = []
    block = TeacherProjection.block

    def spy(self, rows):
        logits = block(self, rows)
        sizes.append(logits.untyped_storage().nbytes())
        return logits

    monkeypatch.setattr(TeacherProjection, "block", spy)
    projected_loss(*student_tensors(), blocks_of(teacher_tensors()), chunk=4)
    assert len(sizes) == 6 and max(sizes) <= 4 * ENTRIES * 8


def test_no_positions():
    inputs = student_tensors(positions=0)
    none = torch.zeros(0, dtype=torch.float64)
    blocks = DenseTeacherBlocks(
        TeacherProjection(*teacher_tensors(0)), none.long(), soft_weight=none, hard_weight=none
    )
    value = projected_loss(*inputs, blocks)
    value.backward()
    assert value.item() == 0.0
    assert not inputs[1].grad.any()


@pytest.mark.parametrize("way", ["tensors", "autocast"])
def test_half_precision_is_near_the_exact_loss(way):
    kind = torch.bfloat16 if way == "tensors" else torch.float32
    inputs, teacher = student_tensors(dtype=kind), teacher_tensors(dtype=kind)
    soft, hard, _ = (values.float() for values in weights())
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        blocks = DenseTeacherBlocks(
            TeacherProjection(*teacher), targets(), soft_weight=soft, hard_weight=hard, temperature=2.0
        )
        value = projected_loss(*inputs, blocks, chunk=5)
    value.backward()
    assert value.dtype == torch.float32 and inputs[1].grad.dtype == kind
    wide = [values.detach().double().requires_grad_() for values in inputs]
    exact = dense(project(*wide), project(*(values.double() for values in teacher)), 2.0, False)
    exact.backward()
    torch.testing.assert_close(value.double(), exact, rtol=0.02, atol=0)
    torch.testing.assert_close(inputs[1].grad.double(), wide[1].grad, rtol=0.05, atol=0.5)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_entry_that_the_teacher_rules_out_is_as_in_the_dense_way(temperature):
    """A bias of -inf, as of a masked vocabulary: 0 log 0 is 0, on both ways."""
    student, teacher = student_tensors(), teacher_tensors()
    teacher[2][3] = float("-inf")
    expected = dense(project(*student), project(*teacher), temperature, with_mse=False)
    blocks = blocks_of(teacher, temperature)
    loss = projected_loss(*student, blocks)
    assert torch.isfinite(loss)
    torch.testing.assert_close(loss, expected, **CLOSE)
    for ours, theirs in zip(*(torch.autograd.grad(each, student) for each in (loss, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
