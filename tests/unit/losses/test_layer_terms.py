"""Differences of states and scores some sentences at a time, as autograd has them, in any order of memory."""

import pytest
import torch

from cmlm_kd.criteria.layers import StateProjection
from cmlm_kd.losses import layer_terms
from cmlm_kd.losses.layer_terms import hidden_term, score_term


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("numbers", [1, 30, 1 << 20], ids=["one-sentence", "two", "all"])
def test_sentences_at_once_change_nothing(numbers, monkeypatch):
    monkeypatch.setattr(layer_terms, "CACHED", numbers)
    real = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    student, teacher = (drawn(3, 3, 5, seed=seed).requires_grad_() for seed in (1, 2))
    squares = (student - teacher).square().mean(2).masked_fill(~real, 0.0)
    naive = squares.sum(1) / real.sum(1)
    found = hidden_term(student, teacher, real, "paper")
    torch.testing.assert_close(found, naive)
    above = torch.tensor([1.0, -2.0, 0.5]).double()
    for _ in range(2):  # a graph that is kept gives the same again
        ours = torch.autograd.grad(found, (student, teacher), above, retain_graph=True)
        torch.testing.assert_close(
            ours, torch.autograd.grad(naive, (student, teacher), above, retain_graph=True)
        )


def test_masks_of_minus_infinity_have_no_gradient():
    seen = torch.ones(2, 3, 3, dtype=torch.bool).tril()
    student, teacher = (
        drawn(2, 4, 3, 3, seed=seed).masked_fill(~seen[:, None], -torch.inf) for seed in (1, 2)
    )
    student.requires_grad_()
    value = score_term(student, teacher, seen)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    assert value.isfinite().all() and gradient.isfinite().all()
    assert not gradient.masked_select(~seen[:, None]).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    student, teacher = (drawn(2, 300, 16, seed=seed).to(dtype) for seed in (1, 2))
    student.requires_grad_()
    value = hidden_term(student, teacher, None, "paper")
    wide = student.detach().float().requires_grad_()
    expected = (wide - teacher.float()).square().mean((1, 2))
    torch.testing.assert_close(value, expected)
    ours, theirs = (
        torch.autograd.grad(each.sum(), leaf) for each, leaf in ((value, student), (expected, wide))
    )
    torch.testing.assert_close(ours[0], theirs[0].to(dtype))


def test_states_that_lie_position_by_position_are_projected_alike():
    projection = StateProjection("separate", (1,), 4, 6).double()
    by_position = drawn(5, 3, 4, seed=1).requires_grad_()  # (L, B, d')
    turned = by_position.transpose(0, 1)
    found, expected = projection(turned, 1), projection(turned.contiguous(), 1)
    assert found.shape == (3, 5, 6)
    torch.testing.assert_close(found, expected)
    leaves = (by_position, *projection.parameters())
    above = drawn(3, 5, 6, seed=2)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, above), torch.autograd.grad(expected, leaves, above)
    )
