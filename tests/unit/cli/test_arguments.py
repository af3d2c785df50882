"""What ``--device`` of the commands means, and which devices are refused."""

import argparse

import pytest
import torch

from cmlm_kd.cli.arguments import add_device, chosen_device
from cmlm_kd.errors import UserError


def chosen(*words):
    parser = argparse.ArgumentParser()
    add_device(parser)
    return chosen_device(parser.parse_args(words))


def test_a_gpu_is_taken_where_there_is_one():
    assert chosen() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen("--device", "cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:none"])
def test_devices_that_are_not_there(device):
    with pytest.raises(
        UserError, match=f"--device is '{device}', which torch can't use .*; give cpu, or cuda"
    ):
        chosen("--device", device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu():
    with pytest.raises(UserError, match="--device is 'cuda', which torch can't use"):
        chosen("--device", "cuda")
