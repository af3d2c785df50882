"""Processes of torchrun that fairseq would not make one training of."""

from argparse import Namespace

import fairseq.distributed.utils
import pytest
import torch
from fairseq.dataclass.configs import DistributedTrainingConfig
from fairseq_cli import train
from fairseq_runs import USER_DIR, exit_of

from cmlm_kd.errors import UserError
from fairseq_plugins.training.processes import LAUNCHED, refuse_copies

TORCHRUN = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2", "RANK": "1"}


def config(**changes):
    return Namespace(**{**vars(DistributedTrainingConfig()), "distributed_world_size": 1, **changes})


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize("world_size", [1, 2])
def test_copies_on_cpus(monkeypatch, world_size):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"has started 2 processes.* --distributed-backend gloo"):
        refuse_copies(config(distributed_world_size=world_size), TORCHRUN)


def test_copies_on_one_gpu_a_machine(gpus):
    with pytest.raises(UserError, match="would train 2 copies: add --distributed-world-size 2"):
        refuse_copies(config(), TORCHRUN)


def test_what_is_one_training(gpus):
    refuse_copies(config(distributed_world_size=2), TORCHRUN)
    refuse_copies(config(distributed_init_method="tcp://127.0.0.1:1"), TORCHRUN)
    refuse_copies(config(), {**TORCHRUN, "WORLD_SIZE": "1"})
    refuse_copies(config(), {})
    for name in LAUNCHED:
        refuse_copies(config(), {key: value for key, value in TORCHRUN.items() if key != name})


def test_fairseq_train_says_so_in_one_line(tmp_path, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fairseq.distributed.utils.infer_init_method.__wrapped__
    flags = ("--task", "translation_kd", "--soft-targets", "none", "--criterion", "soft_target_kd")
    more = ("--arch", "lstm", "--cpu", "--save-dir", tmp_path / "run", "--user-dir", USER_DIR)
    status, errors = exit_of(train, tmp_path, *flags, *more)
    assert status == 1
    assert errors.splitlines()[-1].startswith("fairseq-train: torchrun has started 2 processes")
    assert not (tmp_path / "run").exists()
