"""TinyBERT's terms against loops in float64, values and gradients; padding, limits and half precision."""

import pytest
import torch
from torch.nn.functional import pad

from cmlm_kd.criteria.tinybert import attention_term, hidden_term, prediction_term

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
LENGTHS = MASK.sum(1).tolist()


def random(*shape, seed, scale=1.0):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (scale * values).requires_grad_()


def attention_by_loop(student, teacher, mask, mode):
    sentences, heads, length, _ = student.shape
    total = []
    for b in range(sentences):
        rows = range(length if mode == "original" else LENGTHS[b])
        value = 0.0
        for head in range(heads):
            for i in rows:
                for j in rows:
                    pair = [x[b, head, i, j] + (-1e4 if not mask[b, j] else 0.0) for x in (student, teacher)]
                    if mode == "original":
                        pair = [x if x > -100 else x * 0.0 for x in pair]
                    value = value + (pair[0] - pair[1]) ** 2
        total.append(value / (heads * len(rows) ** 2))
    return torch.stack(total)


def hidden_by_loop(student, teacher, mask, mode):
    rows = [student.size(1) if mode == "original" else int(row.sum()) for row in mask]
    return torch.stack(
        [sum((student[b, i] - teacher[b, i]).pow(2).mean() for i in range(n)) / n for b, n in enumerate(rows)]
    )


def assert_equal_with_gradients(found, expected, *leaves):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    weights = torch.arange(1.0, found.numel() + 1, dtype=torch.float64)  # sentences differ
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("mode", ["paper", "original"])
@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["ordinary", "some-below-the-floor"])
def test_attention_is_the_loop(mode, scale):
    student, teacher = (random(3, 2, 5, 5, seed=seed, scale=scale) for seed in (1, 2))
    expected = attention_by_loop(student, teacher, MASK, mode)
    assert_equal_with_gradients(attention_term(student, teacher, MASK, mode), expected, student, teacher)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_hidden_is_the_loop(mode):
    student, teacher = (random(3, 5, 4, seed=seed) for seed in (3, 4))
    expected = hidden_by_loop(student, teacher, MASK, mode)
    assert_equal_with_gradients(hidden_term(student, teacher, MASK, mode), expected, student, teacher)


@pytest.mark.parametrize("mode", ["paper", "original"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_prediction_is_the_loop(mode, temperature):
    student, teacher = random(3, 4, seed=5, scale=3), random(3, 4, seed=6, scale=3)
    p, q = (x.div(temperature).exp() for x in (teacher, student))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    expected = torch.stack([-sum(p[b, c] * q[b, c].log() for c in range(4)) for b in range(3)])
    expected = expected / 4 if mode == "original" else expected
    found = prediction_term(student, (teacher / temperature).softmax(-1), temperature, mode)
    assert_equal_with_gradients(found, expected, student, teacher)


def test_more_padding_changes_original_alone():
    scores = [random(3, 2, 5, 5, seed=seed) for seed in (1, 2)]
    states = [random(3, 5, 4, seed=seed) for seed in (3, 4)]
    wider = pad(MASK, (0, 2))
    wide_scores = [pad(x, (0, 2, 0, 2), value=0.3 + i) for i, x in enumerate(scores)]
    wide_states = [pad(x, (0, 0, 0, 2), value=0.3 + i) for i, x in enumerate(states)]
    for term, narrow, wide in (
        (attention_term, scores, wide_scores),
        (hidden_term, states, wide_states),
    ):
        torch.testing.assert_close(term(*wide, wider, "paper"), term(*narrow, MASK, "paper"))
        assert not torch.allclose(term(*wide, wider, "original"), term(*narrow, MASK, "original"))


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_order_and_micro_batches_leave_each_sentence_alone(mode):
    student, teacher = (random(3, 2, 5, 5, seed=seed) for seed in (1, 2))
    whole = attention_term(student, teacher, MASK, mode)
    parts = [attention_term(student[b : b + 1], teacher[b : b + 1], MASK[b : b + 1], mode) for b in (2, 0, 1)]
    torch.testing.assert_close(torch.cat(parts), whole[[2, 0, 1]])


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_without_padding_no_mask_is_needed(mode):
    scores, states = (random(3, 2, 5, 5, seed=1), random(3, 2, 5, 5, seed=2)), random(3, 5, 4, seed=3)
    full = torch.ones_like(MASK)
    torch.testing.assert_close(attention_term(*scores, full, mode), attention_term(*scores, None, mode))
    torch.testing.assert_close(hidden_term(states, states + 1, full, mode), torch.ones(3).double())
    torch.testing.assert_close(hidden_term(states, states + 1, None, mode), torch.ones(3).double())


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_a_student_equal_to_its_teacher(mode):
    scores, states, logits = random(3, 2, 5, 5, seed=1), random(3, 5, 4, seed=2), random(3, 4, seed=3)
    assert not attention_term(scores, scores, MASK, mode).any()
    assert not hidden_term(states, states, MASK, mode).any()
    entropy = torch.special.entr(logits.softmax(-1)).sum(-1) / (4 if mode == "original" else 1)
    torch.testing.assert_close(prediction_term(logits, logits.softmax(-1), 1.0, mode), entropy)


def test_a_row_of_padding_alone_is_no_nan():
    mask = torch.zeros(1, 5, dtype=torch.long)
    assert attention_term(random(1, 2, 5, 5, seed=1), random(1, 2, 5, 5, seed=2), mask, "paper").item() == 0
    assert hidden_term(random(1, 5, 4, seed=1), random(1, 5, 4, seed=2), mask, "paper").item() == 0


def test_half_precision_is_summed_in_single():
    student, teacher = (random(3, 2, 5, 5, seed=seed).bfloat16() for seed in (1, 2))
    value = attention_term(student, teacher, MASK, "paper")
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, attention_term(student.float(), teacher.float(), MASK, "paper"))


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_masks_of_minus_infinity_have_finite_gradients(mode):
    """Models may mask with -inf: what is left out of the sum is left out of the gradient."""
    student, teacher = random(2, 3, 4, 4, seed=1), random(2, 3, 4, 4, seed=2)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    padding = mask[:, None, None, :] == 0
    finite = attention_term(student, teacher, mask, mode)
    leaf = student.detach().requires_grad_()
    masked = [scores.masked_fill(padding, float("-inf")) for scores in (leaf, teacher)]
    term = attention_term(*masked, mask, mode)
    torch.testing.assert_close(term, finite)
    term.sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[padding.expand_as(leaf)] == 0).all()
