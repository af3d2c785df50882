"""Adam in one kernel against fairseq's: the same weights, moments and checkpoints."""

import pytest
import torch
from fairseq.optim.adam import Adam

from cmlm_kd.optim import FusedAdam

SETTINGS = {"lr": 0.02, "betas": (0.9, 0.98), "eps": 1e-3, "weight_decay": 0.1}
SHAPES = ((7, 5), (5,), (3, 2, 2), (1,))


def weights(dtype):
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def gradient(tensor, place, update):
    """Of any size, and none for one tensor in every third update."""
    if place == 1 and update % 3 == 1:
        return None
    generator = torch.Generator().manual_seed(100 * update + place)
    return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * 10.0 ** -(update % 5)


def run(optimizer, tensors, updates):
    for update in updates:
        optimizer.param_groups[0]["lr"] = SETTINGS["lr"] / (1 + update)
        for place, tensor in enumerate(tensors):
            tensor.grad = gradient(tensor, place, update)
        optimizer.step()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.0, "eps": 1e-8}])
def test_equal_trajectories(dtype, tolerance, changes):
    ours, theirs = weights(dtype), weights(dtype)
    mine, plain = FusedAdam(ours, **{**SETTINGS, **changes}), Adam(theirs, **{**SETTINGS, **changes})
    for update in range(60):
        run(mine, ours, [update])
        run(plain, theirs, [update])
        for found, wanted in zip(ours, theirs, strict=True):
            torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    states = zip(mine.state_dict()["state"].values(), plain.state_dict()["state"].values(), strict=True)
    for found, wanted in states:
        assert found.keys() == wanted.keys() and found["step"] == wanted["step"]
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(found[name], wanted[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("first", [Adam, FusedAdam])
@pytest.mark.parametrize("second", [Adam, FusedAdam])
def test_one_goes_on_where_the_other_stopped(first, second):
    whole, tensors = weights(torch.float64), weights(torch.float64)
    run(Adam(whole, **SETTINGS), whole, range(20))
    optimizer = first(tensors, **SETTINGS)
    run(optimizer, tensors, range(9))
    saved = optimizer.state_dict()
    follower = second(tensors, lr=1.0)
    follower.load_state_dict(saved)
    run(follower, tensors, range(9, 20))
    for found, wanted in zip(tensors, whole, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)


def test_eps_stays_what_was_asked_for():
    tensors = weights(torch.float32)
    optimizer = FusedAdam(tensors, **SETTINGS)
    run(optimizer, tensors, range(3))
    assert optimizer.param_groups[0]["eps"] == optimizer.state_dict()["param_groups"][0]["eps"] == 1e-3
    assert len(optimizer.param_groups) == 1 and len(optimizer.param_groups[0]["params"]) == len(SHAPES)


def test_a_closure_is_called_once_with_gradients():
    tensor = torch.nn.Parameter(torch.ones(2))
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        loss = (tensor**2).sum()
        loss.backward()
        return loss.item()

    assert FusedAdam([tensor]).step(closure) == 2.0 and calls == [True]
