"""MobileBERT's terms against loops in float64, values and gradients; padding, limits and half precision."""

import pytest
import torch
from torch.nn.functional import pad

from cmlm_kd.criteria.mobilebert import distillation_count, distillation_term
from cmlm_kd.criteria.mobilebert_transfer import (
    attention_divergence,
    feature_map_term,
    mean_term,
    token_means,
    token_variances,
    variance_term,
)

MODES = ["paper", "original"]
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


def random(*shape, seed, scale=1.0):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (scale * values).requires_grad_()


def states():
    return random(3, 5, 4, seed=1), random(3, 5, 4, seed=2)


def scores():
    return random(3, 2, 5, 5, seed=3, scale=2), random(3, 2, 5, 5, seed=4, scale=2)


def mean_of(student, teacher, mask, mode):
    """The term of one teacher layer."""
    return mean_term(student, token_means([teacher]), mask, mode)


def variance_of(student, teacher, mask, mode):
    return variance_term(student, token_variances([teacher]), mask, mode)


def mean(values):
    return sum(values) / len(values)


def variance(values):
    return mean([(x - mean(values)) ** 2 for x in values])


def normed(values):
    return [(x - mean(values)) / (variance(values) + 1e-12).sqrt() for x in values]


def feature_map(s, t, mode):
    if mode == "original":
        s, t = normed(list(s)), normed(list(t))
    return mean([(a - b) ** 2 for a, b in zip(s, t, strict=True)])


def mean_difference(s, t, _mode):
    return (mean(list(s)) - mean(list(t))) ** 2


def variance_difference(s, t, _mode):
    return (variance(list(s)) - variance(list(t))).abs()


def over_tokens(one, student, teacher, mode):
    """Return the mean of ``one`` over the tokens that the mode counts, sentence by sentence."""
    counts = [5 if mode == "original" else int(row.sum()) for row in MASK]
    return torch.stack(
        [mean([one(student[b, i], teacher[b, i], mode) for i in range(n)]) for b, n in enumerate(counts)]
    )


def attention_by_loop(student, teacher, mode):
    sentences = []
    for b, row in enumerate(MASK):
        keys = row.nonzero().flatten().tolist()
        values = []
        for head in range(2):
            for i in range(5 if mode == "original" else len(keys)):
                q, p = ([x[b, head, i, j].exp() for j in keys] for x in (student, teacher))
                q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
                cross = -sum(a * c.log() for a, c in zip(p, q, strict=True))
                values.append(cross if mode == "original" else cross + sum(a * a.log() for a in p))
        sentences.append(mean(values))
    return torch.stack(sentences)


def assert_equal_with_gradients(found, expected, *leaves):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    weights = torch.arange(1.0, found.numel() + 1, dtype=torch.float64)  # sentences differ
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("term", "one"),
    [
        (feature_map_term, feature_map),
        (mean_of, mean_difference),
        (variance_of, variance_difference),
    ],
)
def test_terms_of_states_are_the_loops(term, one, mode):
    student, teacher = states()
    expected = over_tokens(one, student, teacher, mode)
    assert_equal_with_gradients(term(student, teacher, MASK, mode), expected, student, teacher)


def test_statistics_of_several_layers_are_compared_with_each():
    student, first = states()
    second = random(3, 5, 4, seed=9)
    for statistic, term, one in (
        (token_means, mean_term, mean_of),
        (token_variances, variance_term, variance_of),
    ):
        expected = (one(student, first, MASK, "original") + one(student, second, MASK, "original")) / 2
        found = term(student, statistic([first, second]), MASK, "original")
        assert_equal_with_gradients(found, expected, student, first, second)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mask_added", [True, False], ids=["mask-added-to-scores", "mask-given"])
def test_attention_is_the_loop(mode, mask_added):
    student, teacher = scores()
    added = (1.0 - MASK.double())[:, None, None, :] * -1e4 if mask_added else 0.0
    found = attention_divergence(student + added, teacher + added, MASK, mode)
    assert_equal_with_gradients(found, attention_by_loop(student, teacher, mode), student, teacher)


def test_both_readings_of_attention_have_one_gradient():
    student, teacher = scores()
    gradients = [
        torch.autograd.grad(attention_divergence(student, teacher, None, mode).sum(), student)[0]
        for mode in MODES
    ]
    torch.testing.assert_close(*gradients, atol=1e-15, rtol=0)
    difference = attention_divergence(student, teacher, None, "original") - attention_divergence(
        student, teacher, None, "paper"
    )
    entropy = torch.special.entr(teacher.softmax(-1)).sum(-1).mean((1, 2))
    torch.testing.assert_close(difference, entropy)


@pytest.mark.parametrize("hard_share", [0.0, 0.3, 1.0])
def test_distillation_is_the_loop(hard_share):
    student, teacher = random(4, 3, seed=5, scale=3), random(4, 3, seed=6, scale=3)
    target = torch.tensor([2, 0, 1, 1])
    rows = []
    for s, t, y in zip(student, teacher, target, strict=True):
        q, p = s.exp() / s.exp().sum(), t.exp() / t.exp().sum()
        mixed = [hard_share * float(v == y) + (1 - hard_share) * p[v] for v in range(3)]
        rows.append(-sum(m * q[v].log() for v, m in enumerate(mixed)))
    found = distillation_term(student, teacher.softmax(-1), target, hard_share)
    assert_equal_with_gradients(found, torch.stack(rows), student, teacher)


def test_what_divides_distillation():
    positions = torch.tensor(3)
    assert distillation_count(positions, "original").item() == pytest.approx(3.00001, abs=1e-12)
    assert distillation_count(positions, "paper").item() == 3


def test_more_padding_changes_original_alone():
    wider = pad(MASK, (0, 2))
    narrow_scores, narrow_states = scores(), states()
    wide_scores = [pad(x, (0, 2, 0, 2), value=0.3 + i) for i, x in enumerate(narrow_scores)]
    generator = torch.Generator().manual_seed(7)
    filled = [torch.randn(3, 2, 4, dtype=torch.float64, generator=generator) for _ in narrow_states]
    wide_states = [torch.cat(pair, 1) for pair in zip(narrow_states, filled, strict=True)]
    for term, narrow, wide in (
        (attention_divergence, narrow_scores, wide_scores),
        (feature_map_term, narrow_states, wide_states),
        (mean_of, narrow_states, wide_states),
        (variance_of, narrow_states, wide_states),
    ):
        torch.testing.assert_close(term(*wide, wider, "paper"), term(*narrow, MASK, "paper"))
        assert not torch.allclose(term(*wide, wider, "original"), term(*narrow, MASK, "original"))


def test_normalising_hides_scale_and_offset_which_mean_and_variance_see():
    student, _ = states()
    teacher = 3 * student + 2
    torch.testing.assert_close(
        feature_map_term(student, teacher, MASK, "original"), torch.zeros(3).double(), atol=1e-9, rtol=0
    )
    assert (mean_of(student, teacher, MASK, "original") > 0.1).all()
    assert (variance_of(student, teacher, MASK, "original") > 0.1).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_student_equal_to_its_teacher(mode):
    student, attention = states()[0], scores()[0]
    for term in (feature_map_term, mean_of, variance_of):
        assert not term(student, student, MASK, mode).any()
    value = attention_divergence(attention, attention, MASK, mode)
    assert (value > 0).any() if mode == "original" else not value.any()


def test_a_row_of_padding_alone_is_no_nan():
    mask = torch.zeros(1, 5, dtype=torch.long)
    for term in (feature_map_term, mean_of, variance_of):
        assert term(random(1, 5, 4, seed=1), random(1, 5, 4, seed=2), mask, "paper").item() == 0
    assert (
        attention_divergence(random(1, 2, 5, 5, seed=1), random(1, 2, 5, 5, seed=2), mask, "paper").item()
        == 0
    )


def test_half_precision_is_summed_in_single():
    student, teacher = (values.bfloat16() for values in states())
    for term in (feature_map_term, mean_of, variance_of):
        value = term(student, teacher, MASK, "original")
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, term(student.float(), teacher.float(), MASK, "original"))
