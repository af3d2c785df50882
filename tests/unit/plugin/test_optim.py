"""``--optimizer bert_adamw``: its settings, and its steps against Adam written out."""

import numpy as np
import pytest
import torch
from fairseq import options
from fairseq.optim import FairseqOptimizer
from fairseq_runs import config
from torch import nn

from cmlm_kd.errors import UserError
from fairseq_plugins.optim import BertAdamW, BertAdamWConfig

TRAINING = ("data", "--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm")
TRAINING = (*TRAINING, "--optimizer", "bert_adamw", "--cpu")


def test_the_optimiser_brings_the_paper_s_settings():
    given = config(options.get_training_parser(), *TRAINING)
    assert given.optimization.lr == [5e-5] and given.optimization.clip_norm == 1.0
    optimizer = given.optimizer
    assert (optimizer.adam_betas, optimizer.adam_eps, optimizer.weight_decay) == ("(0.9, 0.999)", 1e-6, 0.01)
    assert optimizer.lr == [5e-5]
    given = config(options.get_training_parser(), *TRAINING, "--lr", 1e-3, "--clip-norm", 0)
    assert given.optimization.lr == [1e-3] and given.optimization.clip_norm == 0


def make_optimizer(model, **changes):
    cfg = BertAdamWConfig(**{"lr": [0.1], **changes})
    optimizer = BertAdamW(cfg, model.parameters())
    assert isinstance(optimizer, FairseqOptimizer)
    return optimizer


def test_matrices_decay_and_biases_do_not():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = make_optimizer(model, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (1 - 0.1 * 0.5 if value.dim() > 1 else 1))


def test_steps_are_adam_s():
    """Against the update written out (Loshchilov and Hutter, 2019, algorithm 2)."""
    model = nn.Linear(2, 1, bias=False)
    weight = model.weight.detach().double().numpy().copy()
    optimizer = make_optimizer(model)
    first = second = np.zeros_like(weight)
    for step in range(1, 5):
        gradient = np.array([[0.3 * step, -2.0]])
        model.weight.grad = torch.from_numpy(gradient).float()
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        slope = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-6)
        weight = weight - 0.1 * (slope + 0.01 * weight)
        np.testing.assert_allclose(model.weight.detach().numpy(), weight, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"adam_betas": "0.9"}, "--adam-betas is '0.9'"),
        ({"adam_betas": "(0.9, 1)"}, "--adam-betas"),
        ({"adam_betas": "a,b"}, "--adam-betas"),
        ({"adam_eps": -1.0}, "--adam-eps is -1.0"),
        ({"weight_decay": -0.1}, "--weight-decay is -0.1"),
    ],
)
def test_bad_settings_of_the_optimiser(changes, named):
    with pytest.raises(UserError, match=named.replace("(", r"\(")):
        make_optimizer(nn.Linear(2, 1), **changes)
