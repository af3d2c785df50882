"""``cmlm-kd verify``: one summary, or one line that names what is wrong."""

import re

import pytest
from tiny_corpus import write_split, write_store

from cmlm_kd.cli import main


@pytest.fixture
def data(tmp_path):
    write_split(tmp_path / "data", "valid", 5, seed=1)
    return write_split(tmp_path / "data", "train", 40, seed=0)


@pytest.fixture
def store(tmp_path, data):
    return write_store(tmp_path / "store", data)


def verify(capsys, *arguments):
    status = main(["verify", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_summary(capsys, data, store):
    status, output, _ = verify(capsys, store, "--data", data)
    assert status == 0 and "every checksum and value is right, it belongs to" in output
    assert "40 sentences" in output and "k 3, tail at T = 1, 10" in output and "3 shards" in output
    assert verify(capsys, store)[0] == 0


def test_flipped_bit(capsys, store):
    shard = store / "shard-00001-of-00003.arrow"
    contents = bytearray(shard.read_bytes())
    contents[-300] ^= 8
    shard.write_bytes(contents)
    status, output, error = verify(capsys, store)
    assert status == 2 and not output and error.count("\n") == 1
    assert (
        error.startswith("cmlm-kd verify: store: shard ")
        and "shard-00001-of-00003.arrow (rows 16 to 31)" in error
    )


def test_another_split(capsys, data, store):
    status, _, error = verify(capsys, store, "--data", data, "--split", "valid")
    assert status == 2 and "sentences: 40, the data has 5" in error


def test_split_that_is_not_there(capsys, data, store):
    status, _, error = verify(capsys, store, "--data", data, "--split", "dev")
    assert status == 2 and "no language pairs for split dev" in error
    status, _, error = verify(capsys, store, "--data", data, "-s", "fr", "-t", "en")
    assert status == 2 and "has no train split of fr-en" in error


def test_languages_may_be_given(capsys, data, store):
    assert verify(capsys, store, "--data", data, "-s", "de", "-t", "en")[0] == 0
    status, _, error = verify(capsys, store, "--data", data, "-s", "en", "-t", "de")
    assert status == 2 and "was dumped for corpus" in error


def test_the_split_is_the_one_that_was_dumped(capsys, tmp_path, data):
    other = write_store(tmp_path / "other", data, "valid", settings={"split": "valid"})
    assert verify(capsys, other, "--data", data)[0] == 0
    status, _, error = verify(capsys, other, "--data", data, "--split", "train")
    assert status == 2 and "was dumped for a corpus of sentences: 5, the data has 40" in error


def test_unfinished_store(capsys, store):
    (store / "manifest.json").rename(store / "manifest.partial.json")
    status, _, error = verify(capsys, store)
    assert status == 2 and "is unfinished; run the same 'cmlm-kd dump' again" in error


def test_who_knows_its_training_set_by_heart(capsys, tmp_path, data, monkeypatch):
    """Beside a store of other text; the same teacher's, or there is nothing to compare."""
    train, valid = write_store(tmp_path / "a", data), write_store(tmp_path / "b", data, "valid")
    status, output, error = verify(capsys, train, "--data", data, "--valid-store", valid)
    assert status == 0 and "by heart" not in error
    assert (
        "warning: the student is told all else as one lump" in error
    )  # of three entries of a random teacher
    assert re.search(r"one of its 3 at [\d.]+%; these have [\d.]+% of its probability", output)
    for split in ("train", "valid"):
        assert re.search(
            rf"  {split}: best entry right at [\d.]+%, entropy [\d.]+ bits, the reference costs [\d.]+ bits",
            output,
        )
    monkeypatch.setattr("cmlm_kd.store.statistics.TeacherStatistics.knows_by_heart", lambda *_: True)
    status, _, error = verify(capsys, train, "--data", data, "--valid-store", valid)
    assert status == 0 and "warning: the teacher knows this text by heart" in error and "--fold I/N" in error


def test_a_store_of_another_teacher(capsys, tmp_path, data, store):
    settings = {"teacher_kind": "fairseq translator"}
    other = write_store(tmp_path / "other", data, "valid", teacher_hash="8" * 64, settings=settings)
    status, _, error = verify(capsys, store, "--data", data, "--valid-store", other)
    assert status == 2 and "is of teacher 888888 (fairseq translator)" in error
    assert "of 777777 (C-MLM); dump both splits with the same" in error
    assert "the teacher is a fairseq translator" in verify(capsys, other)[1]
    status, _, error = verify(capsys, store, "--valid-store", other)
    assert status == 2 and "name the data-bin with --data" in error
    status, _, error = verify(capsys, store, "--data", data, "--valid-store", store)
    assert status == 2 and "sentences: 40, the data has 5" in error


def test_a_split_is_not_compared_with_itself_or_with_another_than_is_meant(capsys, tmp_path, data):
    train, valid = (
        write_store(tmp_path / split, data, split, settings={"split": split}) for split in ("train", "valid")
    )
    assert verify(capsys, train, "--data", data, "--valid-store", valid)[0] == 0
    status, _, error = verify(capsys, train, "--data", data, "--valid-store", train)
    assert status == 2 and "is of the split train, --valid-split is valid; dump that split with the" in error
    status, _, error = verify(capsys, valid, "--data", data, "--valid-store", valid)
    assert status == 2 and f"is of the split valid, as {valid} is; give the store of text" in error


@pytest.mark.parametrize("manifest", ["{}", "[]", "", '{"format": "cmlm-kd', '{"format": 1}'])
@pytest.mark.parametrize(
    ("file", "said"), [("logits-0.npy", "teacher"), ("pieces.bin", "give another --tokenized")]
)
def test_a_damaged_manifest_is_not_taken_for_a_stores(capsys, tmp_path, file, said, manifest):
    (tmp_path / file).write_bytes(b"12")
    (tmp_path / "manifest.json").write_text(manifest)
    status, output, error = verify(capsys, tmp_path)
    assert status == 2 and not output and error.count("\n") == 1
    assert said in error and "store: " not in error and "cmlm-kd dump" not in error


@pytest.mark.parametrize(
    ("name", "said"),
    [("student", "holds nothing"), ("out.txt", "is no directory"), ("none", "does not exist")],
)
def test_what_is_of_no_kind_is_told_all_kinds(capsys, tmp_path, name, said):
    (tmp_path / "student").mkdir()
    for file in ("student/checkpoint_last.pt", "out.txt"):
        (tmp_path / file).write_text("12\n")
    status, output, error = verify(capsys, tmp_path / name)
    assert status == 2 and not output and error.count("\n") == 1
    assert error.startswith(f"cmlm-kd verify: {tmp_path / name} {said}") and "store: " not in error
    for kind in (
        "store",
        "data-bin",
        "C-MLM teacher",
        "teacher cache",
        "text in tokens",
        "exported directory",
    ):
        assert kind in error
