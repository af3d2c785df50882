"""FastBERT's divergence and uncertainty against naive loops, and at their limits."""

import math

import pytest
import torch

from cmlm_kd.criteria.fastbert import self_distillation_loss
from cmlm_kd.errors import UserError
from cmlm_kd.models.fastbert.branch import uncertainty


def random_logits(*shape, seed=0):
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_loss(branches, teacher, direction):
    rows = []
    for row in range(len(teacher)):
        total = torch.zeros((), dtype=torch.float64)
        p = teacher[row].exp() / teacher[row].exp().sum()
        for branch in branches:
            q = branch[row].exp() / branch[row].exp().sum()
            first, second = (p, q) if direction == "forward" else (q, p)
            for c in range(len(p)):
                total = total + first[c] * (first[c].log() - second[c].log())
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_value_and_gradient_against_a_loop(direction):
    teacher = random_logits(3, 4, seed=1)
    ours, loops = (random_logits(2, 3, 4).requires_grad_() for _ in range(2))
    loss, expected = self_distillation_loss(ours, teacher, direction), naive_loss(loops, teacher, direction)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, loops.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_branch_that_agrees_costs_nothing(direction):
    teacher = random_logits(3, 4).requires_grad_()
    branch = (teacher.detach() + 7.0).requires_grad_()  # the same distribution
    loss = self_distillation_loss([branch], teacher, direction)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert branch.grad.abs().max() < 1e-12 and teacher.grad is None


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_certain_logits_stay_finite(direction):
    branch = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = self_distillation_loss([branch], torch.tensor([[0.0, 1e4], [0.0, 1e4]]), direction)
    loss.sum().backward()
    assert loss.tolist() == [1e4, 0.0] and branch.grad.isfinite().all()


def test_micro_batches_add_up_and_order_is_irrelevant():
    branches, teacher = random_logits(2, 6, 3), random_logits(6, 3, seed=1)
    whole = self_distillation_loss(branches, teacher)
    parts = [self_distillation_loss(branches[:, rows], teacher[rows]) for rows in ([5, 0], [2, 1, 4, 3])]
    assert torch.equal(torch.cat(parts), whole[[5, 0, 2, 1, 4, 3]])


def test_no_branches_cost_nothing():
    assert self_distillation_loss([], random_logits(3, 4)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
def test_uncertainty_of_equal_and_of_certain_probabilities(classes):
    for dtype in (torch.float16, torch.float32, torch.float64):
        equal, certain = torch.zeros(1, classes, dtype=dtype), torch.zeros(1, classes, dtype=dtype)
        certain[0, 1] = 1000.0
        assert 1.0 - 1e-6 <= uncertainty(equal).item() <= 1.0
        assert uncertainty(certain).item() == 0.0


def test_uncertainty_against_a_loop():
    logits = random_logits(2, 5, 4)
    for row, value in zip(logits.flatten(0, 1), uncertainty(logits).flatten(), strict=True):
        p = [math.exp(z) / sum(math.exp(other) for other in row.tolist()) for z in row.tolist()]
        assert value.item() == pytest.approx(-sum(x * math.log(x) for x in p) / math.log(4), abs=1e-12)


def test_one_class_is_refused():
    with pytest.raises(UserError, match="two classes or more, there is 1"):
        uncertainty(torch.zeros(3, 1))


def test_a_class_that_the_teacher_rules_out_is_no_nan():
    teacher = random_logits(3, 4, seed=5)
    teacher[0, 2] = float("-inf")
    branches = random_logits(2, 3, 4, seed=6).requires_grad_()
    loss = self_distillation_loss(branches, teacher, "forward")
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    assert torch.isfinite(branches.grad).all()
