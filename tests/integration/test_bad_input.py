"""What is wrong with a store or a setting: fairseq-train names it in one line, and the last checkpoint stays.

Text and teachers are refused by ``cmlm-kd prepare`` (tests/unit/data/translation/test_prepare.py), a full
disk and a teacher that does not fit by ``cmlm-kd dump`` (tests/unit/teachers/test_dump.py).
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
from fairseq_cli import generate, train
from fairseq_runs import COMMON, TINY_STUDENT, USER_DIR, exit_of, run_train
from tiny_corpus import write_split, write_store

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint

ROWS = 40


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A data-bin, its store, and a student after one update."""
    root = tmp_path_factory.mktemp("begun")
    for seed, (split, rows) in enumerate({"train": ROWS, "valid": 6}.items()):
        write_split(root / "data", split, rows, seed)
    write_store(root / "store", root / "data")
    run_train(*training(root), "--max-update", 1)
    return root


@pytest.fixture
def folder(begun, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(begun, tmp_path / "copy")


def training(folder, *flags):
    return (
        *(folder / "data", "--task", "translation_kd", "--soft-targets", folder / "store"),
        *("--criterion", "soft_target_kd", "--kd-topk", 3, *TINY_STUDENT, "--max-tokens", 90),
        *("--no-epoch-checkpoints", "--save-dir", folder / "student", *flags),
    )


def checkpoints(folder):
    return {file.name: file.read_bytes() for file in (folder / "student").iterdir()}


def refuse(folder, message, *flags):
    """Go on with the training: it must end with status 1 and this one line, the checkpoints untouched."""
    before = checkpoints(folder)
    status, error = exit_of(train, *training(folder, "--max-update", 2, *flags))
    assert status == 1
    (line,) = error.splitlines()
    assert line.startswith("fairseq-train: ") and re.search(message, line), line
    assert checkpoints(folder) == before


def test_a_console_script_ends_with_the_line(begun, tmp_path):
    """The interpreter itself, not what the other tests do in its place."""
    program = tmp_path / "fairseq-train"
    program.write_text("from fairseq_cli.train import cli_main\ncli_main()\n")
    done = subprocess.run(
        [sys.executable, program, *map(str, (*training(begun, "--kd-alpha", 1.5), *COMMON))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(USER_DIR.parent)},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "fairseq-train: soft_target_kd: --kd-alpha is 1.5; it must be in [0, 1]"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--kd-alpha", -0.1), r"--kd-alpha is -0.1; it must be in \[0, 1\]"),
        (("--kd-temperature", 0), "--kd-temperature is 0.0; it must be above 0"),
        (("--kd-temperature", -10), "--kd-temperature is -10.0; it must be above 0"),
        (
            ("--kd-topk", 4),
            "--kd-topk is 4, but the teacher gives k = 3 entries per token; pass --kd-topk 3 or less",
        ),
        (("--kd-topk", 0), "--kd-topk is 0; it must be at least 1"),
        (
            ("--kd-tail", "bucket", "--kd-temperature", 5),
            "at --kd-temperature 5; the store has it at: 1, 10; use",
        ),
        (("--label-smoothing", 1), r"--label-smoothing is 1.0; it must be in \[0, 1\)"),
    ],
)
def test_settings(folder, flags, message):
    refuse(folder, f"soft_target_kd: .*{message}", *flags)


def another_corpus(folder):
    data = write_split(folder / "other", "train", ROWS, seed=9)
    write_store(folder / "other-store", data)


def fewer_rows(folder):
    data = write_split(folder / "other", "train", ROWS - 1, seed=0)
    write_store(folder / "other-store", data)


def another_dictionary(folder):
    data = shutil.copytree(folder / "data", folder / "other")
    dictionary = data / "dict.en.txt"
    dictionary.write_text(dictionary.read_text().replace("w7 1", "x7 1"))
    write_store(folder / "other-store", data)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            another_corpus,
            r"was dumped for corpus \w{12}, the data has \w{12}; run 'cmlm-kd dump' for this data-bin",
        ),
        (
            fewer_rows,
            r"was dumped for a corpus of sentences: 39, the data has 40; run 'cmlm-kd dump' for this",
        ),
        (
            another_dictionary,
            r"was dumped for dictionary \w{12}, the data has \w{12}; run 'cmlm-kd dump' for this",
        ),
    ],
)
def test_a_store_of_other_data(folder, write, message):
    write(folder)
    refuse(folder, f"store: .*other-store {message}", "--soft-targets", folder / "other-store")


def truncate(shard):
    shard.write_bytes(shard.read_bytes()[:-8])


def flip_a_bit(shard):
    data = bytearray(shard.read_bytes())
    data[-200] ^= 4  # among the numbers, which look right whatever they are
    shard.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"has \d+ bytes, the manifest says \d+; .*'cmlm-kd dump'"),
        (
            flip_a_bit,
            r"\(rows 16 to 31\) has checksum \w{12}, the manifest says \w{12}; restore it from a copy, or",
        ),
        (os.remove, "is missing; .*'cmlm-kd dump'"),
    ],
)
def test_a_damaged_shard(folder, damage, message):
    damage(folder / "store" / "shard-00001-of-00003.arrow")
    refuse(folder, f"shard-00001-of-00003.arrow {message}")


def test_a_store_of_another_format(folder):
    manifest = folder / "store" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    refuse(
        folder,
        "manifest.json has format .* version 2, this release reads .* version 1; run 'cmlm-kd dump' again",
    )


def test_no_store_and_an_unfinished_one(folder):
    refuse(
        folder,
        "nowhere holds no store .*; give the directory that 'cmlm-kd dump' wrote",
        "--soft-targets",
        "nowhere",
    )
    (folder / "store" / "manifest.json").rename(folder / "store" / "manifest.partial.json")
    refuse(folder, "is unfinished; run the same 'cmlm-kd dump' again")


def test_training_goes_on_after_a_refusal(folder):
    refuse(folder, "--kd-alpha is 2.0; it must be in", "--kd-alpha", 2)
    run_train(*training(folder, "--max-update", 2))
    assert number_of_updates(read_checkpoint(folder / "student" / "checkpoint_last.pt")) == 2


def test_decoding_names_what_it_lacks_too(folder):
    flags = (
        folder / "data",
        "--task",
        "translation",
        "--path",
        folder / "student" / "checkpoint_last.pt",
        "--cpu",
    )
    status, error = exit_of(generate, *flags, "--gen-subset", "valid", "--bpe", "teacher_pieces")
    assert status == 1
    assert error.splitlines()[-1].startswith(
        "fairseq-generate: teacher_pieces: --teacher-tokenizer is missing; give"
    )


def test_our_own_faults_keep_their_traceback(folder, monkeypatch):
    monkeypatch.setattr("cmlm_kd.store.batches.check_lengths", None)
    monkeypatch.setattr("cmlm_kd.store.reader.check_lengths", None)
    status, error = exit_of(train, *training(folder, "--max-update", 2))
    assert status == 1 and error.startswith("Traceback") and "TypeError: 'NoneType'" in error.splitlines()[-1]
