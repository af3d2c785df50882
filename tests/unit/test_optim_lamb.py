"""LAMB against its paper's formulas worked out by hand, and groups whose rates differ."""

import math

import pytest
import torch

from cmlm_kd.optim import Lamb, apply_rate, let_rest, parameter_groups, set_factors

SETTINGS = {"lr": 0.1, "betas": (0.5, 0.75), "eps": 0.01, "weight_decay": 0.2}


def parameter(*values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def norm(values):
    return math.sqrt(sum(value * value for value in values))


def steps_by_hand(x, gradients, *, corrects, adapts=True):
    """Algorithm 2 of You et al., number by number."""
    (b1, b2), lr, eps, decay = SETTINGS["betas"], *(SETTINGS[name] for name in ("lr", "eps", "weight_decay"))
    m, v = [0.0] * len(x), [0.0] * len(x)
    for t, gradient in enumerate(gradients, 1):
        m = [b1 * a + (1 - b1) * g for a, g in zip(m, gradient, strict=True)]
        v = [b2 * a + (1 - b2) * g * g for a, g in zip(v, gradient, strict=True)]
        c1, c2 = (1 - b1**t, 1 - b2**t) if corrects else (1, 1)
        u = [a / c1 / (math.sqrt(b / c2) + eps) + decay * w for a, b, w in zip(m, v, x, strict=True)]
        ratio = norm(x) / norm(u) if adapts else 1.0
        x = [w - lr * ratio * step for w, step in zip(x, u, strict=True)]
    return x


def steps(x, gradients, **settings):
    tensor = parameter(*x)
    optimizer = Lamb([tensor], **SETTINGS, **settings)
    for gradient in gradients:
        tensor.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return tensor.tolist()


@pytest.mark.parametrize("corrects", [True, False])
@pytest.mark.parametrize("adapts", [True, False])
def test_lamb_is_the_paper_s(corrects, adapts):
    x, gradients = [1.0, -2.0, 0.5], [[0.3, 0.1, -0.2], [-0.1, 0.4, 0.0], [0.2, 0.2, 0.7]]
    found = steps(x, gradients, bias_correction=corrects, adapts=adapts)
    assert found == pytest.approx(
        steps_by_hand(x, gradients, corrects=corrects, adapts=adapts), abs=1e-12, rel=0
    )


def test_the_first_step_is_a_share_of_the_tensor():
    """With one number, no decay and no eps, the direction is the gradient's sign: 4 - 0.1 * 4."""
    tensor = parameter(4.0)
    tensor.grad = torch.tensor([-7.0], dtype=torch.float64)
    Lamb([tensor], lr=0.1, eps=0.0, weight_decay=0.0).step()
    assert tensor.item() == pytest.approx(4.4, abs=1e-12)


def test_norms_of_nothing_leave_adam_s_step():
    assert steps([0.0, 0.0], [[1.0, -1.0]])[0] == pytest.approx(-0.1 / 1.01)
    still = parameter(1.0, 1.0)
    still.grad = torch.zeros(2, dtype=torch.float64)
    Lamb([still], lr=0.1, weight_decay=0.0).step()
    assert still.tolist() == [1.0, 1.0]


def test_many_tensors_change_as_each_would_alone():
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 4), (5,), (2, 2, 2)]
    together = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    alone = [torch.nn.Parameter(tensor.detach().clone()) for tensor in together]
    optimizers = [Lamb(together), *(Lamb([tensor]) for tensor in alone)]
    for _ in range(3):
        for left, right in zip(together, alone, strict=True):
            left.grad = torch.randn(left.shape, generator=generator)
            right.grad = left.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for left, right in zip(together, alone, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_a_tensor_without_gradient_is_passed_by():
    used, unused = parameter(1.0), parameter(1.0)
    optimizer = Lamb([used, unused])
    used.grad = torch.ones(1, dtype=torch.float64)
    optimizer.step()
    assert used.item() != 1.0
    assert unused.item() == 1.0
    assert unused not in optimizer.state


def test_a_resumed_optimizer_goes_on_where_it_was():
    gradients = [[0.3, 0.1], [-0.1, 0.4], [0.2, 0.2]]
    tensor = parameter(*steps([1.0, -2.0], gradients[:2]))
    first = parameter(1.0, -2.0)
    before = Lamb([first], **SETTINGS)
    for gradient in gradients[:2]:
        first.grad = torch.tensor(gradient, dtype=torch.float64)
        before.step()
    after = Lamb([tensor], **SETTINGS)
    after.load_state_dict(before.state_dict())
    tensor.grad = torch.tensor(gradients[2], dtype=torch.float64)
    after.step()
    assert tensor.tolist() == steps([1.0, -2.0], gradients)


def test_the_closure_is_called_with_gradients():
    tensor = parameter(2.0)

    def closure():
        loss = tensor.square().sum()
        loss.backward()
        return loss.item()

    assert Lamb([tensor]).step(closure) == 4.0
    assert tensor.item() < 2.0


# -- groups --------------------------------------------------------------------------------------------------


def grouped(optimizer_class, **settings):
    """An optimiser over a matrix and a vector of two layers and of none."""
    parameters = {}
    for name in ("layer 1", "layer 2", None):
        for shape in ((2, 2), (2,)):
            parameters[name, len(shape)] = torch.nn.Parameter(torch.ones(shape))
            if name:
                parameters[name, len(shape)].param_group = name
    return parameters, optimizer_class(parameter_groups(parameters.values(), 0.3), **settings)


def test_groups_are_by_name_and_vectors_neither_decay_nor_adapt():
    parameters, optimizer = grouped(Lamb)
    assert [(group["name"], group["weight_decay"], group["adapts"]) for group in optimizer.param_groups] == [
        (name, *rest) for name in ("layer 1", "layer 2", "default") for rest in ((0.3, True), (0.0, False))
    ]
    assert [id(group["params"][0]) for group in optimizer.param_groups] == [
        id(parameters[name, dim]) for name in ("layer 1", "layer 2", None) for dim in (2, 1)
    ]


def test_rates_are_in_proportion_to_the_common_one():
    _, optimizer = grouped(Lamb)
    set_factors(optimizer, {"layer 1": 0.3, "layer 2": 3.0})
    apply_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.003] * 2 + [0.03] * 2 + [0.01] * 2
    )


@pytest.mark.parametrize("optimizer_class", [Lamb, torch.optim.AdamW])
def test_a_group_of_rate_0_rests_and_is_forgotten(optimizer_class):
    parameters, optimizer = grouped(optimizer_class)
    for factor in (1.0, 0.0):
        set_factors(optimizer, {"layer 1": factor})
        apply_rate(optimizer, 0.1)
        for tensor in parameters.values():
            tensor.grad = torch.ones_like(tensor)
        before = {key: tensor.detach().clone() for key, tensor in parameters.items()}
        let_rest(optimizer)
        optimizer.step()
        for (name, dim), tensor in parameters.items():
            rests = name == "layer 1" and factor == 0.0
            assert torch.equal(tensor, before[name, dim]) == rests
            assert (tensor in optimizer.state) != rests


def test_a_group_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="layer 9"):
        set_factors(grouped(Lamb)[1], {"layer 9": 1.0})
