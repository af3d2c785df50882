"""DistilBERT's terms against loops in float64, values and gradients; limits, batches and half precision."""

import pytest
import torch

from cmlm_kd.criteria.distilbert import (
    cosine_term,
    kl_term,
    logits_mse_term,
    mlm_term,
)

POSITIONS, ENTRIES, WIDTH = 4, 6, 5


def random(*shape, seed, scale=1.0):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (scale * values).requires_grad_()


def logits():
    return random(POSITIONS, ENTRIES, seed=1, scale=3), random(POSITIONS, ENTRIES, seed=2, scale=3)


def softmax_by_loop(row, temperature):
    exponentials = [(z / temperature).exp() for z in row]
    return [e / sum(exponentials) for e in exponentials]


def kl_by_loop(student, teacher, temperature):
    rows = []
    for s, t in zip(student, teacher, strict=True):
        q, p = softmax_by_loop(s, temperature), softmax_by_loop(t, temperature)
        rows.append(temperature**2 * sum(a * (a.log() - b.log()) for a, b in zip(p, q, strict=True)))
    return torch.stack(rows)


def mse_by_loop(student, teacher):
    return torch.stack(
        [sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) for s, t in zip(student, teacher, strict=True)]
    )


def cosine_by_loop(student, teacher):
    rows = []
    for s, t in zip(student, teacher, strict=True):
        product = sum(a * b for a, b in zip(s, t, strict=True))
        rows.append(1 - product / (sum(a * a for a in s) * sum(b * b for b in t)).sqrt())
    return torch.stack(rows)


def assert_equal_with_gradients(found, expected, *leaves):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    weights = torch.arange(1.0, found.numel() + 1, dtype=torch.float64)  # positions differ
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.5])
def test_kl_is_the_loop(temperature):
    student, teacher = logits()
    expected = kl_by_loop(student, teacher, temperature)
    assert_equal_with_gradients(kl_term(student, teacher, temperature), expected, student, teacher)


def test_mlm_is_the_loop():
    student, _ = logits()
    target = torch.tensor([5, 0, 3, 3])
    expected = torch.stack(
        [-softmax_by_loop(row, 1.0)[y].log() for row, y in zip(student, target, strict=True)]
    )
    assert_equal_with_gradients(mlm_term(student, target), expected, student)


def test_mse_and_cosine_are_the_loops():
    student, teacher = logits()
    assert_equal_with_gradients(
        logits_mse_term(student, teacher), mse_by_loop(student, teacher), student, teacher
    )
    states = random(POSITIONS, WIDTH, seed=3), random(POSITIONS, WIDTH, seed=4)
    assert_equal_with_gradients(cosine_term(*states), cosine_by_loop(*states), *states)


def test_a_high_temperature_compares_centred_logits():
    """Hinton et al. (2015), eq. 4: T^2 times the divergence tends to half the variance of the difference."""
    student, teacher = logits()
    difference = student - teacher
    expected = difference.var(-1, unbiased=False) / 2
    torch.testing.assert_close(kl_term(student, teacher, 1e4), expected, rtol=1e-3, atol=0)


def test_a_student_equal_to_its_teacher():
    student, _ = logits()
    states = random(POSITIONS, WIDTH, seed=3)
    zero = torch.zeros(POSITIONS, dtype=torch.float64)
    for term in (kl_term(student, student, 2.0), cosine_term(states, 3 * states)):
        torch.testing.assert_close(term, zero, atol=1e-12, rtol=0)
    assert not logits_mse_term(student, student).any()


def test_the_divergence_is_of_the_student_from_the_teacher():
    """A teacher that is sure: the student's own loss of that entry; the other way round it is infinite."""
    student, _ = logits()
    sure = torch.full((POSITIONS, ENTRIES), -1e4, dtype=torch.float64)
    target = torch.tensor([5, 0, 3, 3])
    sure[torch.arange(POSITIONS), target] = 0.0
    torch.testing.assert_close(kl_term(student, sure, 1.0), mlm_term(student, target))
    assert (kl_term(sure, student, 1.0) > 100).all()


def test_positions_stand_alone():
    student, teacher = logits()
    order = [2, 0, 3, 1]
    for term in (lambda s, t: kl_term(s, t, 2.0), logits_mse_term, cosine_term):
        parts = [term(student[i : i + 1], teacher[i : i + 1]) for i in order]
        torch.testing.assert_close(torch.cat(parts), term(student, teacher)[order])


def test_half_precision_is_summed_in_single():
    student, teacher = (values.bfloat16() for values in logits())
    for term in (lambda s, t: kl_term(s, t, 2.0), logits_mse_term, cosine_term):
        value = term(student, teacher)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, term(student.float(), teacher.float()))
    assert mlm_term(student, torch.zeros(POSITIONS, dtype=torch.long)).dtype == torch.float32
