"""The chunked projection against a matrix of logits, whatever the loss."""

import pytest
import torch

from cmlm_kd.losses.projection import BlockLoss, projected_loss

TOKENS, WIDTH, VOCABULARY = 23, 6, 17


class SquaredLogits(BlockLoss):
    """sum(coefficient * (z^2 + 3 z)) over tokens and entries: an obvious gradient, no softmax."""

    def __init__(self, coefficients):
        self.coefficients, self.seen, self.sums, self.chunks = coefficients, [], [], []
        self.dtypes, self.gradients = set(), set()

    def start(self, sums):
        of_rows = sums()
        self.sums.append(3 * (self.coefficients.to(of_rows.dtype) * of_rows).sum())
        self.wide = of_rows.dtype

    def uniform(self):
        return 3 * self.coefficients.to(self.wide)

    def start_chunk(self, rows):
        self.chunks.append((rows.start, rows.stop))

    def __call__(self, logits, rows, gradient):
        self.seen.extend(range(rows.start, rows.stop))
        self.dtypes.add(logits.dtype)
        self.gradients.add(gradient)
        weights = self.coefficients[rows].unsqueeze(1).to(logits.dtype)
        self.sums.append((weights * logits**2).sum())
        if gradient:
            logits.mul_(2 * weights)

    def total(self):
        return sum(self.sums, torch.zeros(()))


def tensors(dtype=torch.float64, tokens=TOKENS):
    generator = torch.Generator().manual_seed(0)
    shapes = [(tokens, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)]
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


def coefficients(tokens=TOKENS):
    return torch.linspace(0.5, 2.0, tokens, dtype=torch.float64)


def dense(features, weight, bias):
    logits = features @ weight.t() + (0 if bias is None else bias)
    return (coefficients(features.size(0)).unsqueeze(1).to(logits.dtype) * (logits**2 + 3 * logits)).sum()


@pytest.mark.parametrize("chunk", [None, 1, 5, 23, 100])
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients(chunk, with_bias):
    features, weight, bias = tensors()
    bias = bias if with_bias else None
    inputs = [value for value in (features, weight, bias) if value is not None]
    loss = SquaredLogits(coefficients())
    value = projected_loss(features, weight, bias, loss, chunk=chunk)
    expected = dense(features, weight, bias)
    torch.testing.assert_close(value, expected)
    for actual, wanted in zip(
        torch.autograd.grad(3 * value, inputs), torch.autograd.grad(3 * expected, inputs), strict=True
    ):
        torch.testing.assert_close(actual, wanted)
    assert loss.seen == list(range(TOKENS))


def test_blocks_smaller_than_a_chunk(monkeypatch):
    monkeypatch.setattr("cmlm_kd.losses.projection.CPU_BLOCK_BYTES", 3 * VOCABULARY * 8)
    features, weight, bias = tensors()
    loss = SquaredLogits(coefficients())
    value = projected_loss(features, weight, bias, loss, chunk=10)
    value.backward()
    assert loss.chunks == [(0, 8), (8, 16), (16, 23)]
    expected = torch.autograd.grad(dense(features, weight, bias), (features, weight, bias))
    for actual, wanted in zip((features.grad, weight.grad, bias.grad), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_never_holds_the_matrix():
    """The largest buffer a loss works in is a chunk, and no block lives on its own."""
    features, weight, _ = tensors()
    sizes = []

    class Spy(SquaredLogits):
        def __call__(self, logits, rows, gradient):
            sizes.append(logits.untyped_storage().nbytes())
            super().__call__(logits, rows, gradient)

    projected_loss(features, weight, None, Spy(coefficients()), chunk=4)
    assert max(sizes) <= 4 * VOCABULARY * 8


def test_without_gradients_nothing_is_prepared():
    features, weight, bias = tensors()
    loss = SquaredLogits(coefficients())
    with torch.no_grad():
        value = projected_loss(features, weight, bias, loss)
    torch.testing.assert_close(value, dense(features, weight, bias).detach())
    assert loss.gradients == {False}
    assert not value.requires_grad


@pytest.mark.parametrize("frozen", ["features", "weight"])
def test_frozen_inputs(frozen):
    features, weight, _ = tensors()
    still, moving = (features, weight) if frozen == "features" else (weight, features)
    still.requires_grad_(False)
    projected_loss(features, weight, None, SquaredLogits(coefficients())).backward()
    assert still.grad is None
    (expected,) = torch.autograd.grad(dense(features, weight, None), moving)
    torch.testing.assert_close(moving.grad, expected)


def test_no_tokens_give_zero_gradients_and_not_none():
    """DistributedDataParallel waits for the gradient of every parameter."""
    features, weight, bias = tensors(tokens=0)
    value = projected_loss(features, weight, bias, SquaredLogits(coefficients(0)))
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert torch.equal(bias.grad, torch.zeros_like(bias))
    assert features.grad.shape == (0, WIDTH)


def test_tied_weight_adds_to_the_gradient_from_elsewhere():
    features, weight, _ = tensors()
    value = projected_loss(features, weight, None, SquaredLogits(coefficients())) + weight.square().sum()
    value.backward()
    (expected,) = torch.autograd.grad(dense(features, weight, None), weight)
    torch.testing.assert_close(weight.grad, expected + 2 * weight.detach())


def test_gradients_survive_a_second_backward_and_in_place_accumulation():
    features, weight, _ = tensors()
    value = projected_loss(features, weight, None, SquaredLogits(coefficients()))
    value.backward(retain_graph=True)
    once = weight.grad.clone()
    value.backward()
    torch.testing.assert_close(weight.grad, 2 * once)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_reach_the_loss_in_float32(dtype):
    features, weight, bias = tensors(dtype)
    loss = SquaredLogits(coefficients())
    value = projected_loss(features, weight, bias, loss, chunk=5)
    value.backward()
    assert loss.dtypes == {torch.float32} and value.dtype == torch.float32
    assert weight.grad.dtype == dtype
    (expected,) = torch.autograd.grad(dense(features, weight, bias).float(), weight)
    torch.testing.assert_close(weight.grad, expected, rtol=0.05, atol=1.0)


def test_autocast():
    features, weight, bias = tensors(torch.float32)
    loss = SquaredLogits(coefficients())
    with torch.autocast("cpu", torch.bfloat16):
        value = projected_loss(features, weight, bias, loss, chunk=5)
    value.backward()
    assert loss.dtypes == {torch.float32} and value.dtype == torch.float32
    assert weight.grad.dtype == torch.float32
    exact = dense(features, weight, bias)
    assert value.item() != exact.item()
    torch.testing.assert_close(value, exact, rtol=0.02, atol=0)


def test_gradient_of_the_weight_is_added_up_in_float32():
    """1024 chunks of one token, each adding 1: bfloat16 would stop counting at 256."""
    features = torch.ones(1024, 1, dtype=torch.bfloat16)
    weight = torch.zeros(3, 1, requires_grad=True)

    class Ones(BlockLoss):
        def __call__(self, logits, rows, gradient):
            logits.fill_(1.0)

        def total(self):
            return torch.zeros(())

    projected_loss(features, weight, None, Ones(), chunk=1).backward()
    assert weight.grad.flatten().tolist() == [1024.0] * 3


def test_double_precision_is_kept_under_autocast():
    features, weight, _ = tensors()
    with torch.autocast("cpu", torch.bfloat16):
        value = projected_loss(features, weight, None, SquaredLogits(coefficients()))
    torch.testing.assert_close(value, dense(features, weight, None))


class Guessed(BlockLoss):
    """sum(c z^2 / 2), with a factor c of each row that its block has to guess as 1."""

    def __init__(self, factors, after=None):
        self.factors, self.after, self.value = factors, after, 0.0

    def __call__(self, logits, rows, gradient):
        self.value += (self.factors[rows] * logits**2 / 2).sum()
        if gradient and self.after is None:
            logits.mul_(self.factors[rows])

    def mend(self):
        if self.after is None:
            return None
        return self.after, Guessed(self.factors[self.after] - 1.0)

    def total(self):
        return self.value


def test_rows_that_were_guessed_wrong_are_mended():
    features, weight, bias = tensors()
    factors = torch.ones(TOKENS, 1, dtype=torch.float64)
    wrong = torch.tensor([1, 4, 22])
    factors[wrong] = torch.tensor([[3.0], [0.0], [-2.0]], dtype=torch.float64)
    value = projected_loss(features, weight, bias, Guessed(factors, wrong), chunk=5)
    expected = (factors * (features @ weight.t() + bias) ** 2 / 2).sum()
    torch.testing.assert_close(value, expected)
    for actual, wanted in zip(
        torch.autograd.grad(value, (features, weight, bias)),
        torch.autograd.grad(expected, (features, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(actual, wanted)
