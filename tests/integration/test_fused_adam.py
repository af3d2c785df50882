"""``--optimizer fused_adam`` trains as ``adam`` does, and goes on with its checkpoints."""

import re
import shutil

import pytest
import torch
from fairseq_runs import TINY_STUDENT, run_train
from tiny_corpus import write_split

from cmlm_kd.errors import UserError


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "valid")):
        write_split(root, split, 40, seed)

    def run(save_dir, optimizer, updates, *more):
        run_train(
            *(root, "--task", "translation_kd", "--soft-targets", "none", "--criterion", "soft_target_kd"),
            *("--kd-alpha", 0, *TINY_STUDENT, "--optimizer", optimizer, "--dropout", 0, "--max-tokens", 90),
            *(
                "--clip-norm",
                0.5,
                "--weight-decay",
                0.01,
                "--adam-eps",
                1e-5,
                "--max-update",
                updates,
                "--seed",
                3,
            ),
            *("--no-epoch-checkpoints", "--disable-validation", "--save-dir", save_dir, *more),
        )
        return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)["model"]

    return run


def test_a_training_changes_its_optimizer_on_the_way(train, tmp_path):
    train(tmp_path / "begun", "adam", 3)
    shutil.copytree(tmp_path / "begun", tmp_path / "mixed")
    wanted, found = train(tmp_path / "begun", "adam", 6), train(tmp_path / "mixed", "fused_adam", 6)
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-6)
    moved = train(tmp_path / "mixed", "adam", 7)
    assert any(not torch.equal(moved[name], weight) for name, weight in found.items())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--adam-betas", "0.9"), "--adam-betas is '0.9', give two numbers in"),
        (("--adam-eps", -1), "--adam-eps is -1.0, it can't be negative"),
    ],
)
def test_flags_that_are_none(train, tmp_path, flags, message):
    with pytest.raises(UserError, match=f"fused_adam: {re.escape(message)}"):
        train(tmp_path, "fused_adam", 1, *flags)
