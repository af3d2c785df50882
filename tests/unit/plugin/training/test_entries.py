"""A checkpoint meets the dictionaries that it was trained with, or a refusal that names both."""

import shutil

import fairseq_cli.generate
import fairseq_cli.train
import pytest
from fairseq_runs import TINY_STUDENT, exit_of, run_generate, run_train
from tiny_corpus import SYMBOLS, write_split

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.checkpoint_keys import DICTIONARY_HASH, SOURCE_DICTIONARY_HASH
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, write_checkpoint
from cmlm_kd.fairseq_files.databin import dictionary_hash


def write_words(data, language, words):
    (data / f"dict.{language}.txt").write_text("".join(f"{word} 1\n" for word in words))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data, the same with two source entries exchanged, and with eight entries more."""
    root = tmp_path_factory.mktemp("entries")
    for name in ("data", "other", "larger"):
        for seed, (split, rows) in enumerate({"train": 8, "valid": 3, "test": 2}.items()):
            write_split(root / name, split, rows, seed)
    words = [f"w{i}" for i in range(SYMBOLS)]
    write_words(root / "other", "de", [words[1], words[0], *words[2:]])
    write_words(root / "larger", "en", [*words, *(f"x{i}" for i in range(8))])
    return root


def flags(data, save_dir, updates=2, *more):
    return (
        *(data, "--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT, "--batch-size", 4),
        *("--criterion", "soft_target_kd", "--kd-alpha", 0, "--save-dir", save_dir, "--no-epoch-checkpoints"),
        *("--max-update", updates, *more),
    )


def generate(data, path, *more):
    return (
        data,
        "--task",
        "translation",
        "--path",
        path,
        "--gen-subset",
        "test",
        "--beam",
        1,
        "--cpu",
        *more,
    )


@pytest.fixture(scope="module")
def student(data):
    run_train(*flags(data / "data", data / "student"))
    return data / "student" / "checkpoint_last.pt"


def without_hashes(student, path):
    """Write the checkpoint as an earlier release did."""
    state = read_checkpoint(student)
    for key in (DICTIONARY_HASH, SOURCE_DICTIONARY_HASH):
        del state["task_state"][key]
    write_checkpoint(state, path)
    return path


def hashes(data, language):
    return [dictionary_hash(data / name / f"dict.{language}.txt")[:12] for name in ("data", "other")]


def refusal(command, *flags):
    status, errors = exit_of(command, *flags)
    assert status == 1
    last = errors.splitlines()[-1]
    assert last.startswith("fairseq-") and "Traceback" not in errors
    return last


def test_checkpoints_carry_the_hashes(data, student):
    state = read_checkpoint(student)["task_state"]
    assert state[SOURCE_DICTIONARY_HASH] == dictionary_hash(data / "data" / "dict.de.txt")
    assert state[DICTIONARY_HASH] == dictionary_hash(data / "data" / "dict.en.txt")


@pytest.mark.parametrize("how", ["resumed", "finetuned", "restored"])
def test_a_training_with_another_dictionary_of_equal_size(data, student, tmp_path, how):
    save_dir, more = tmp_path / "save", ()
    if how == "resumed":
        shutil.copytree(student.parent, save_dir)
    else:
        flag = {"finetuned": "--finetune-from-model", "restored": "--restore-file"}[how]
        more = (flag, student)
    own, other = hashes(data, "de")
    message = refusal(fairseq_cli.train, *flags(data / "other", save_dir, 3, *more))
    assert f"was trained with source dictionary {own}, {data / 'other'} has {other}: its ids stand" in message
    assert "checkpoint_last.pt" in message and "another --save-dir" in message


def test_a_training_with_a_dictionary_of_another_size(data, student, tmp_path):
    """Checkpoints of earlier releases, too."""
    for path in (student, without_hashes(student, tmp_path / "old.pt")):
        given = flags(data / "larger", tmp_path / "save", 3, "--finetune-from-model", path)
        message = refusal(fairseq_cli.train, *given)
        assert str(path) in message and "was trained with" in message and "target dictionary" in message
    assert "of 44 entries, that of" in message and "has 52" in message
    shutil.copytree(student.parent, tmp_path / "resumed")  # whose optimizer differs, too
    message = refusal(fairseq_cli.train, *flags(data / "larger", tmp_path / "resumed", 3))
    assert "was trained with target dictionary" in message and "optimizer" not in message


def test_translations_with_another_dictionary(data, student, tmp_path):
    own, other = hashes(data, "de")
    message = refusal(fairseq_cli.generate, *generate(data / "other", student))
    assert f"{student}: the checkpoint was trained with source dictionary {own}, " in message
    assert f"has {other}" in message
    message = refusal(fairseq_cli.generate, *generate(data / "larger", student))
    assert "target dictionary" in message
    old = without_hashes(student, tmp_path / "old.pt")
    message = refusal(fairseq_cli.generate, *generate(data / "larger", old))
    assert f"{old} is of dictionaries of another size than the data (" in message


def test_an_average_of_two_dictionaries(data, student, tmp_path, capsys):
    state = read_checkpoint(student)
    state["task_state"] = {**state["task_state"], DICTIONARY_HASH: "f" * 64}
    write_checkpoint(state, tmp_path / "other.pt")
    output = str(tmp_path / "mean.pt")
    assert main(["average", "--inputs", str(student), str(tmp_path / "other.pt"), "--output", output]) == 2
    error = capsys.readouterr().err
    assert "was trained with target dictionary ffffffffffff" in error and hashes(data, "en")[0] in error


def test_old_and_portable_checkpoints_still_load(data, student, tmp_path):
    old = without_hashes(student, tmp_path / "old.pt")
    portable = tmp_path / "portable.pt"
    assert main(["average", "--inputs", str(student), "--output", str(portable), "--portable"]) == 0
    expected = run_generate(*generate(data / "data", student))
    for path in (old, portable):
        assert run_generate(*generate(data / "data", path)) == expected
    run_train(*flags(data / "data", tmp_path / "save", 1, "--finetune-from-model", old))
    assert refusal(fairseq_cli.generate, *generate(data / "other", portable)).endswith("was trained on")
