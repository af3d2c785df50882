"""The loss of masked tokens, from logits and from hidden states, against a loop over positions."""

import math

import pytest
import torch

from cmlm_kd.api.criterion import NOT_MASKED
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.criteria.masked_lm_loss import masked_loss, masked_output

POSITIONS, WIDTH, VOCABULARY = 11, 5, 13


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(POSITIONS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def student(way, features, weight, bias):
    if way == "logits":
        return ModelOutput(logits=features @ weight.t() + bias)
    return ModelOutput(features=features, weight=weight, bias=bias)


def some_hidden():
    target = torch.full((POSITIONS,), NOT_MASKED)
    target[[1, 4, 5, 9]] = torch.tensor([0, 12, 7, 7])
    return target


def loop(features, weight, bias, target):
    loss, right = torch.zeros((), dtype=torch.float64), 0
    for position, piece in enumerate(target.tolist()):
        if piece == NOT_MASKED:
            continue
        scores = [(features[position] @ weight[v] + bias[v]) for v in range(VOCABULARY)]
        loss = loss - scores[piece] + torch.stack([score.exp() for score in scores]).sum().log()
        right += max(range(VOCABULARY), key=lambda v, scores=scores: scores[v].item()) == piece
    return loss, right


@pytest.mark.parametrize("way", ["logits", "features"])
def test_value_and_gradient_are_those_of_a_loop(way):
    parameters, target = tensors(), some_hidden()
    with torch.no_grad():  # one position that is right beyond doubt
        parameters[1][7] += 20.0 * parameters[0][5]
    expected, right = loop(*parameters, target)
    gradients = torch.autograd.grad(expected, parameters)
    terms = masked_loss(student(way, *parameters), target)
    assert right > 0
    assert terms["accuracy"].total.item() == 100.0 * right
    assert {term.count.item() for term in terms.values()} == {4}
    torch.testing.assert_close(terms["mlm_loss"].total, expected, rtol=1e-12, atol=0)
    for own, theirs in zip(torch.autograd.grad(terms["mlm_loss"].total, parameters), gradients, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", ["logits", "features"])
def test_a_batch_in_which_nothing_is_hidden_has_no_loss_and_no_gradient(way):
    parameters = tensors()
    output = masked_output(student(way, *parameters), torch.full((POSITIONS,), NOT_MASKED))
    assert (output.loss.item(), int(output.size)) == (0.0, 0)
    assert not any(gradient.any() for gradient in torch.autograd.grad(output.loss, parameters))


def test_bfloat16_hidden_states_lose_little():
    features, weight, bias = tensors(torch.float32)
    target = some_hidden()
    exact = masked_output(ModelOutput(logits=features @ weight.t() + bias), target).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = masked_output(student("features", features, weight, bias), target).loss
    assert rounded.dtype == torch.float32
    assert math.isclose(rounded.item(), exact.item(), rel_tol=0.02)
