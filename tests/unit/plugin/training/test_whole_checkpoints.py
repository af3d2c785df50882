"""Checkpoints of fairseq-train: whole or not there, and where a training with a damaged one goes on."""

import logging
import os
import shutil

import fairseq_cli.train
import pytest
import torch
from disk import largest_file, names
from fairseq import checkpoint_utils
from fairseq_runs import TINY_STUDENT, exit_of, run_train
from tiny_corpus import write_split

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, write_checkpoint
from fairseq_plugins.training.starting_point import newest_whole
from fairseq_plugins.training.whole_checkpoints import WholeCopies


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_split(folder, "train", 12, seed=1)
    return write_split(folder, "valid", 4, seed=2)


def flags(data, save_dir, updates, *more):
    return (
        *(data, "--task", "translation", *TINY_STUDENT, "--dropout", 0, "--batch-size", 3),
        *("--save-dir", save_dir, "--save-interval-updates", 2, "--max-update", updates, *more),
    )


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """After 5 updates, with a checkpoint every 2."""
    save_dir = tmp_path_factory.mktemp("trained")
    run_train(*flags(data, save_dir, 5))
    return save_dir


@pytest.fixture(params=["half", "a bit"])
def broken(request, trained, tmp_path):
    """What a kill while fairseq copied left of the last checkpoint, or one with a bit that has changed."""
    folder = shutil.copytree(trained, tmp_path / "broken")
    last = folder / "checkpoint_last.pt"
    if request.param == "half":
        os.truncate(last, last.stat().st_size // 2)
        return folder
    content = bytearray(last.read_bytes())
    weight = read_checkpoint(last)["model"]["decoder.output_projection.weight"].numpy().tobytes()
    content[content.index(weight) + len(weight) // 2] ^= 1
    last.write_bytes(content)
    return folder


def weights(save_dir):
    return read_checkpoint(save_dir / "checkpoint_last.pt")["model"]


def test_nothing_but_checkpoints_is_left(trained):
    assert all(name.startswith("checkpoint") and name.endswith(".pt") for name in names(trained))
    assert number_of_updates(read_checkpoint(trained / "checkpoint_last.pt")) == 5


def test_equal_states_are_equal_bytes_whatever_the_name(tmp_path):
    state = {"model": {"weight": torch.arange(5.0)}}
    for name in ("one.pt", "two-longer.pt"):
        write_checkpoint(state, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two-longer.pt").read_bytes()


def test_a_copy_that_breaks_off_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "new.pt").write_text("new")
    (tmp_path / "last.pt").write_text("old")

    def half(source, destination):
        destination.write_text("n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "copyfile", half)
        WholeCopies.copy(str(tmp_path / "new.pt"), str(tmp_path / "last.pt"), overwrite=True)
    assert (tmp_path / "last.pt").read_text() == "old" and names(tmp_path) == ["last.pt", "new.pt"]
    assert WholeCopies.copy(str(tmp_path / "new.pt"), str(tmp_path / "last.pt"), overwrite=True)
    assert (tmp_path / "last.pt").read_text() == "new"
    assert checkpoint_utils.PathManager is WholeCopies


def test_a_training_goes_on_from_the_newest_whole_checkpoint(data, trained, broken, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run_train(*flags(data, broken, 6))
    assert (
        f"{broken / 'checkpoint_last.pt'} is damaged; the training goes on from {broken}/checkpoint"
        in caplog.text
    )
    whole = shutil.copytree(trained, tmp_path / "whole")
    run_train(*flags(data, whole, 6))
    assert number_of_updates(read_checkpoint(broken / "checkpoint_last.pt")) == 6
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(broken)[name]), name


def test_a_training_without_its_last_checkpoint_goes_on_too(data, trained, tmp_path, caplog):
    """A first start would write over the best one."""
    folder = shutil.copytree(trained, tmp_path / "s")
    (folder / "checkpoint_last.pt").unlink()
    with caplog.at_level(logging.WARNING):
        run_train(*flags(data, folder, 6))
    assert f"{folder / 'checkpoint_last.pt'} is missing; the training goes on from" in caplog.text
    whole = shutil.copytree(trained, tmp_path / "whole")
    run_train(*flags(data, whole, 6))
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(folder)[name]), name


@pytest.mark.parametrize("how", ["--finetune-from-model", "--no-last-checkpoints", "average"])
def test_a_first_start_beside_other_checkpoints(data, trained, tmp_path, caplog, how):
    folder = shutil.copytree(trained, tmp_path / "s")
    (folder / "checkpoint_last.pt").unlink()
    if how == "average":
        for path in folder.glob("checkpoint*.pt"):
            state = read_checkpoint(path)
            state["extra_state"]["averaged"] = {}
            write_checkpoint(state, path)
    more = {"--finetune-from-model": (how, trained / "checkpoint1.pt"), "average": ()}.get(how, (how,))
    with caplog.at_level(logging.WARNING):
        run_train(*flags(data, folder, 1, "--no-epoch-checkpoints", *more))
    assert "is missing" not in caplog.text
    assert number_of_updates(read_checkpoint(folder / "checkpoint_best.pt")) == 1


def test_which_checkpoint_is_the_newest_whole_one(broken):
    last = broken / "checkpoint_last.pt"
    for path in broken.glob("checkpoint*.pt"):
        if path != last and number_of_updates(read_checkpoint(path)) == 5:
            os.truncate(path, 100)
    mean = read_checkpoint(broken / "checkpoint1.pt")
    mean["extra_state"]["averaged"] = {}
    write_checkpoint(mean, broken / "checkpoint_mean.pt")
    assert newest_whole(broken) == broken / "checkpoint1.pt"
    for path in broken.glob("checkpoint*.pt"):
        os.truncate(path, 100)
    message = "No other checkpoint in .* is whole: remove the file to start anew, or give --restore-file"
    with pytest.raises(UserError, match=f"^{last} cannot be read as a checkpoint.*{message}"):
        newest_whole(broken)


def test_a_full_disk_is_one_line_and_the_checkpoints_stay(data, trained, tmp_path, monkeypatch):
    # The limit holds for the file in which pytest keeps what is logged, too.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    folder = shutil.copytree(trained, tmp_path / "full")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    size = (folder / "checkpoint_last.pt").stat().st_size
    with largest_file(size // 2):
        status, errors = exit_of(fairseq_cli.train, *flags(data, folder, 6))
    line = errors.splitlines()[-1]
    assert status == 1 and line.endswith(": File too large; make room or choose another place"), errors
    assert line.startswith(f"fairseq-train: {folder}/checkpoint") and "Traceback" not in errors
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_where_checkpoints_are_to_be_saved(data, tmp_path):
    (tmp_path / "file").write_text("mine")
    status, errors = exit_of(fairseq_cli.train, *flags(data, tmp_path / "file", 1))
    line = errors.splitlines()[-1]
    message = "Not a directory; a file is where a folder is meant: choose another place"
    assert status == 1 and line == f"fairseq-train: {tmp_path / 'file' / 'dummy'}: {message}"
    assert "Traceback" not in errors and (tmp_path / "file").read_text() == "mine"
