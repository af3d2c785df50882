"""A training that has ended, one that goes on, and two that want the same folder."""

import logging
import subprocess
import sys

import pytest
from fairseq_cli import train
from fairseq_runs import TINY_STUDENT, exit_of, run_train
from tiny_corpus import write_split

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from fairseq_plugins.training.one_training import LOCK

HELD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("root") / "data"
    for seed, (split, rows) in enumerate({"train": 24, "valid": 6}.items()):
        write_split(data, split, rows, seed)
    return data


def flags(data, save_dir, updates, *more):
    return (
        *(data, "--task", "translation_kd", "--soft-targets", "none", "--criterion", "soft_target_kd"),
        *("--kd-alpha", 0, *TINY_STUDENT, "--max-tokens", 90, "--max-update", updates),
        *("--no-epoch-checkpoints", "--save-dir", save_dir, *more),
    )


def updates_of(save_dir):
    return number_of_updates(read_checkpoint(save_dir / "checkpoint_last.pt"))


def test_the_command_of_a_training_that_has_ended_changes_nothing(data, tmp_path, caplog):
    run_train(*flags(data, tmp_path, 2))
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    with caplog.at_level(logging.INFO):
        run_train(*flags(data, tmp_path, 2))
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before
    assert "it has 2 updates, and --max-update is 2" in caplog.text
    run_train(*flags(data, tmp_path, 3))
    assert updates_of(tmp_path) == 3


UNCHANGING = (
    *("--lr", 0, "--patience", 3, "--validate-interval-updates", 1, "--save-interval-updates", 1),
    *("--keep-interval-updates", 1, "--validate-interval", 1000),
)
"""The first validation is the best for ever: three more, and the training ends after four updates."""


@pytest.mark.parametrize("interrupted", [(), (1, 3)])
def test_patience_counts_through_interruptions(data, tmp_path, caplog, interrupted):
    for updates in (*interrupted, 50):
        run_train(*flags(data, tmp_path, updates, *UNCHANGING))
    assert updates_of(tmp_path) == 4
    with caplog.at_level(logging.INFO):
        run_train(*flags(data, tmp_path, 50, *UNCHANGING))
    assert updates_of(tmp_path) == 4
    assert "3 validations running were no better, and --patience is 3" in caplog.text
    run_train(*flags(data, tmp_path, 50, *UNCHANGING, "--patience", 4))
    assert updates_of(tmp_path) == 5


def test_a_training_that_starts_from_another_has_its_own_patience(data, tmp_path):
    run_train(*flags(data, tmp_path / "first", 50, *UNCHANGING))
    again = ("--finetune-from-model", tmp_path / "first" / "checkpoint_last.pt")
    run_train(*flags(data, tmp_path / "second", 50, *UNCHANGING, *again))
    assert updates_of(tmp_path / "second") == 4


def test_a_folder_has_one_training_at_a_time(data, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path / LOCK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        status, errors = exit_of(train, *flags(data, tmp_path, 1))
    finally:
        holder.communicate()
    assert status == 1
    assert errors.splitlines()[-1] == (
        f"fairseq-train: another training is writing {tmp_path}; wait for its end, or give another --save-dir"
    )
    assert not (tmp_path / "checkpoint_last.pt").exists()
    assert exit_of(train, *flags(data, tmp_path, 1))[0] == 0
