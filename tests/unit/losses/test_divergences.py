"""Shared pieces of loss against sums written out."""

import math

import pytest
import torch

from cmlm_kd.losses import divergences as losses


@pytest.fixture
def logits():
    return torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def log_probs(logits):
    return logits.log_softmax(-1)


TARGET = torch.tensor([0, 6, 2, 2, 5])


@pytest.mark.parametrize(
    ("mode", "others", "total"),
    [("fairseq", 0.1 / 6, 1.0), ("original", 0.1 / 5, 1.0 + 2 * 0.1 / 5)],
)
def test_smoothing_weights(mode, others, total):
    gold, uniform = losses.smoothing_weights(0.1, 7, mode)
    assert uniform == pytest.approx(others)
    assert gold + 7 * uniform == pytest.approx(total)


@pytest.mark.parametrize("mode", ["fairseq", "original"])
def test_label_smoothed_nll_is_a_weighted_sum(log_probs, mode):
    gold, uniform = losses.smoothing_weights(0.3, 7, mode)
    expected = [
        -sum((uniform + (gold if entry == label else 0.0)) * row[entry].item() for entry in range(7))
        for row, label in zip(log_probs, TARGET.tolist(), strict=True)
    ]
    actual = losses.label_smoothed_nll(log_probs, TARGET, 0.3, mode)
    assert actual.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["fairseq", "original"])
def test_without_smoothing_it_is_the_nll(log_probs, mode):
    smoothed = losses.label_smoothed_nll(log_probs, TARGET, 0.0, mode)
    assert torch.equal(smoothed, losses.negative_log_likelihood(log_probs, TARGET))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_cross_entropy_tempers_the_student_alone(logits, temperature):
    probs = logits.flip(-1).softmax(-1)  # (5, 7)
    expected = [
        sum(
            q * (math.log(sum(math.exp(other / temperature) for other in row)) - own / temperature)
            for q, own in zip(wanted, row, strict=True)
        )
        for wanted, row in zip(probs.tolist(), logits.tolist(), strict=True)
    ]
    assert losses.soft_cross_entropy(logits, probs, temperature).tolist() == pytest.approx(expected)


def test_sparse_cross_entropy_counts_repeated_entries_twice(log_probs):
    ids = torch.tensor([[0, 0, 3]] * 5)
    probs = torch.tensor([[0.5, 0.2, 0.3]] * 5, dtype=torch.float64)
    expected = -(0.7 * log_probs[:, 0] + 0.3 * log_probs[:, 3])
    torch.testing.assert_close(losses.sparse_cross_entropy(log_probs, ids, probs), expected)


def test_what_both_rule_out_counts_nothing():
    """0 log 0 is 0, in value and gradient."""
    logits = torch.tensor([[0.3, float("-inf"), -0.2]], requires_grad=True)
    probs, ids = torch.tensor([[0.6, 0.0, 0.4]]), torch.tensor([[0, 1, 2]])
    without = torch.tensor([[0.3, -0.2]], requires_grad=True)
    expected = losses.soft_cross_entropy(without, torch.tensor([[0.6, 0.4]]))
    (wanted,) = torch.autograd.grad(expected.sum(), without)
    for loss in (
        losses.soft_cross_entropy(logits, probs),
        losses.sparse_cross_entropy(logits.log_softmax(-1), ids, probs),
    ):
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient[0, [0, 2]], wanted[0])
        assert gradient[0, 1] == 0


def test_sparse_cross_entropy_never_divides(log_probs):
    """Neither by the vocabulary nor by the tokens: doubling the batch leaves each token alone."""
    ids = torch.tensor([[1, 4]] * 5)
    probs = torch.full((5, 2), 0.5, dtype=torch.float64)
    once = losses.sparse_cross_entropy(log_probs, ids, probs)
    twice = losses.sparse_cross_entropy(log_probs.repeat(2, 1), ids.repeat(2, 1), probs.repeat(2, 1))
    assert torch.equal(twice, once.repeat(2))


def test_entropy_of_a_certain_teacher_is_zero_and_has_no_nan():
    probs = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    assert losses.entropy(probs).tolist() == pytest.approx([0.0, math.log(3)])


def test_log_mass_outside_is_exact_where_nearly_nothing_is_left():
    log_probs = torch.tensor([[0.0, -60.0, -61.0, -62.0]], dtype=torch.float64).log_softmax(-1)
    outside = losses.log_mass_outside(log_probs, torch.tensor([[0, 0]]))
    expected = math.log(math.exp(-60) + math.exp(-61) + math.exp(-62))
    assert outside.item() == pytest.approx(expected, abs=1e-9)


def test_repeats_marks_all_but_the_first():
    assert losses.repeats(torch.tensor([[4, 2, 4, 4], [1, 2, 3, 0]])).tolist() == [
        [False, False, True, True],
        [False] * 4,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmax_in_place(dtype):
    logits = torch.randn(9, 4000, dtype=dtype) * 5
    expected, normaliser = logits.softmax(-1), logits.logsumexp(-1, keepdim=True)
    buffer = logits.clone()
    torch.testing.assert_close(losses.softmax_in_place(buffer), normaliser)
    torch.testing.assert_close(buffer, expected)


def test_softmax_in_place_of_huge_logits():
    buffer = torch.tensor([[1e4, 0.0, -1e4], [-3e38, -3e38, -3e38]])
    normaliser = losses.softmax_in_place(buffer)
    assert normaliser.flatten().tolist() == pytest.approx([1e4, -3e38])
    assert buffer.tolist() == [[1.0, 0.0, 0.0], pytest.approx([1 / 3] * 3)]


def test_widen_leaves_double_precision_alone():
    assert losses.widen(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert losses.widen(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_divergence_of_logarithms_is_torchs_where_all_is_finite(log_probs):
    target = log_probs.roll(1, 0)
    expected = torch.nn.functional.kl_div(log_probs, target, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(losses.kl_of_log_probs(target, log_probs), expected)


def test_an_entry_that_the_target_rules_out_adds_nothing_and_has_no_gradient():
    target = torch.tensor([[0.5, 0.5, 0.0]]).log()
    student = torch.tensor([[0.2, 0.3, 0.5]]).log().requires_grad_()
    divergence = losses.kl_of_log_probs(target, student)
    assert divergence.item() == pytest.approx(0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.3))
    divergence.sum().backward()
    torch.testing.assert_close(student.grad, torch.tensor([[-0.5, -0.5, 0.0]]))


def test_normaliser_of_a_softmax_in_bfloat16():
    logits = (4 * torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))).bfloat16()
    logits[3, 400:600] = float("-inf")  # says nothing of the row: it has to be asked for again
    exact, probs, asked = logits.float().logsumexp(1, keepdim=True), logits.clone(), []

    def again(rows):
        asked.extend(rows.tolist())
        return logits[rows]

    normaliser = losses.rounded_softmax_in_place(probs, again)
    torch.testing.assert_close(probs.float(), logits.float().softmax(-1), rtol=2**-7, atol=1e-30)
    torch.testing.assert_close(normaliser, exact, rtol=0, atol=1e-3)
    assert asked == [3] and normaliser[3] == exact[3]


def test_words_that_never_occur_do_not_decide_alone_about_a_normaliser_in_bfloat16():
    logits = (2 * torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))).bfloat16()
    logits[:, 400:600] = -3.14159  # one rounding for all of them
    exact = logits.float().logsumexp(1, keepdim=True)
    apart = losses.rounded_softmax_in_place(logits, logits.__getitem__) - exact
    assert float(apart.abs().max()) < 1.5e-3 and float(apart.abs().mean()) < 5e-4
