"""fairseq-generate on damaged checkpoints and data: one line that says what to do, and no traceback."""

import os

import pytest
from fairseq_cli import generate, train
from fairseq_runs import TINY_STUDENT, exit_of, run_train
from tiny_corpus import write_split

from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, write_checkpoint

LAST = "s/checkpoint_last.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for seed, (split, rows) in enumerate({"train": 8, "valid": 4, "test": 4}.items()):
        write_split(root / "data", split, rows, seed)
    run_train(*training(root))
    return root


@pytest.fixture
def root(whole, tmp_path):
    for path in whole.rglob("*"):
        if path.is_file():
            place = tmp_path / path.relative_to(whole)
            place.parent.mkdir(exist_ok=True)
            os.link(path, place)
    return tmp_path


def training(root, updates=1):
    flags = (root / "data", "--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT)
    return (
        *flags,
        "--batch-size",
        4,
        "--save-dir",
        root / "s",
        "--max-update",
        updates,
        "--no-epoch-checkpoints",
    )


def changed(root, change):
    state = read_checkpoint(root / LAST)
    change(state)
    (root / LAST).unlink()
    write_checkpoint(state, root / LAST)


def without_a_weight(root):
    changed(root, lambda state: state["model"].pop("encoder.layers.0.fc2.bias"))


def with_nan(root):
    changed(root, lambda state: state["model"]["encoder.layers.0.fc2.bias"].fill_(float("nan")))


def without_weights(root):
    changed(root, lambda state: state.pop("model"))


def without_settings(root):
    changed(root, lambda state: (state.pop("cfg"), state.pop("args", None)))


def without_a_file(root):
    (root / "data" / "test.de-en.de.bin").unlink()


def with_an_empty_index(root):
    (root / "data" / "test.de-en.de.idx").unlink()
    (root / "data" / "test.de-en.de.idx").touch()


def with_bytes_missing(root):
    data = (root / "data" / "test.de-en.de.bin").read_bytes()
    (root / "data" / "test.de-en.de.bin").unlink()
    (root / "data" / "test.de-en.de.bin").write_bytes(data[:-2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_weight, "has other weights than its settings describe (Error(s) in loading state_dict"),
        (with_nan, "encoder.layers.0.fc2.bias has numbers that are not finite"),
        (without_weights, "its model is of type NoneType, and fairseq writes a dictionary"),
        (
            without_settings,
            "has no settings of its model ('cfg'); give a checkpoint that fairseq-train wrote",
        ),
        (without_a_file, "give a --gen-subset that 'cmlm-kd prepare' wrote there, or prepare the data again"),
        (
            with_an_empty_index,
            "an .idx file of the data-bin is none of --dataset-impl mmap: prepare the data",
        ),
        (with_bytes_missing, "test.de-en.de.bin ends before sentence 3 (buffer is smaller than requested"),
    ],
)
def test_decoding(root, damage, message):
    damage(root)
    flags = (root / "data", "--task", "translation", "--path", root / LAST, "--gen-subset", "test", "--cpu")
    status, errors = exit_of(generate, *flags, "--beam", 1, "--max-len-b", 5)
    assert status == 1 and "Traceback" not in errors, errors
    assert message in errors.splitlines()[-1] and errors.splitlines()[-1].startswith("fairseq-generate: ")


def without_optimizer(root):
    changed(root, lambda state: state.update(last_optimizer_state="text"))


def of_another_width(root):
    changed(
        root,
        lambda state: state["model"].update(
            {"encoder.layers.0.fc2.bias": state["model"]["encoder.layers.0.fc2.bias"][:3]}
        ),
    )


def as_a_folder(root):
    (root / LAST).unlink()
    (root / LAST).mkdir()


def as_a_link_to_nothing(root):
    (root / LAST).unlink()
    (root / LAST).symlink_to("nowhere")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_optimizer, "its last_optimizer_state is of type str, and fairseq writes a dictionary"),
        (of_another_width, "size mismatch for encoder.layers.0.fc2.bias"),
        (as_a_folder, "checkpoint_last.pt is no file; move it away, or give another --save-dir"),
        (as_a_link_to_nothing, "checkpoint_last.pt is no file; move it away"),
    ],
)
def test_training_that_goes_on(root, damage, message):
    damage(root)
    (root / "s" / "checkpoint_best.pt").unlink(missing_ok=True)
    status, errors = exit_of(train, *training(root, updates=2))
    assert status == 1 and "Traceback" not in errors, errors
    assert message in errors.splitlines()[-1] and errors.splitlines()[-1].startswith("fairseq-train: ")


def test_a_folder_that_is_no_data(root):
    status, errors = exit_of(train, root / "s", *training(root)[1:])
    assert status == 1 and "Traceback" not in errors, errors
    assert "no split lies there; give a folder that 'cmlm-kd prepare' wrote" in errors.splitlines()[-1]
