"""A file of a data-bin that is not as it was written is named before it is used."""

import json
import re
import shutil

import fairseq_cli.train
import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq_runs import TINY_STUDENT, build_task, exit_of
from tiny_prepare import contents, forget_checksums, run, write_corpus, write_teacher

from cmlm_kd.cli import main
from cmlm_kd.data.translation.integrity import check_databin
from cmlm_kd.data.translation.manifest import load_manifest
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from fairseq_plugins.data.prepared import PreparedData, check_fairseq_data

ALWAYS = (
    *("dict.de.txt", "dict.en.txt", "dict.en.teacher_ids.npy", "teacher/tokenizer.json"),
    *("teacher/config.json", "train.de-en.de.idx", "valid.de-en.en.idx"),
)
WHOLE = ("train.de-en.en.bin", "raw/train.de", "raw/valid.en")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("integrity")
    return run(write_corpus(root), write_teacher(tmp_path_factory.mktemp("teacher")))


@pytest.fixture
def data(written, tmp_path):
    return shutil.copytree(written, tmp_path / "data")


def flip(path, position=-2, bit=1):
    content = bytearray(path.read_bytes())
    content[position] ^= bit
    path.write_bytes(content)


def check(data, **how):
    check_databin(data, load_manifest(data), **how)


def test_every_file_has_a_checksum(written):
    files = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert load_manifest(written).checksums.keys() == files - {"prepare.json"}
    check(written, whole=True)


@pytest.mark.parametrize("name", ALWAYS)
def test_a_flipped_bit(data, name):
    flip(data / name)
    with pytest.raises(UserError, match=rf"{name} is .*; write the data again with 'cmlm-kd prepare'$"):
        check(data)


@pytest.mark.parametrize("name", WHOLE)
def test_a_flipped_bit_of_the_text_is_found_by_reading_all_of_it(data, name, capsys):
    flip(data / name)
    check(data)
    with pytest.raises(UserError, match=rf"{name} is damaged \(checksum "):
        check(data, whole=True)
    assert main(["verify", str(data)]) == 2
    assert f"cmlm-kd verify: {data / name} is damaged (checksum " in capsys.readouterr().err


def test_files_that_are_gone_or_exchanged(data, written):
    (data / "train.de-en.en.bin").unlink()
    with pytest.raises(UserError, match=r"train\.de-en\.en\.bin is missing"):
        check(data)
    shutil.copy(data / "valid.de-en.en.bin", data / "train.de-en.en.bin")
    with pytest.raises(UserError, match=r"train\.de-en\.en\.bin is damaged \(\d+ bytes, \d+ were written\)"):
        check(data)
    check(data, splits=["valid"])
    (data / "valid.de-en.de.idx").unlink()
    with pytest.raises(UserError, match=r"valid\.de-en\.de\.idx is missing"):
        check(data, splits=["valid"])


def test_a_pointer_to_another_sentence_without_checksums(data):
    """fairseq would follow it."""
    forget_checksums(data)
    index = data / "train.de-en.de.idx"
    row = len(Databin.open(data / "train.de-en.de")) - 2
    flip(index, -16 + 0)  # the least byte of the last pointer but one
    with pytest.raises(UserError, match=rf"train\.de-en\.de\.idx is damaged \(sentence {row} begins at byte"):
        check(data)


def test_a_data_bin_of_an_earlier_release(data, capsys):
    """It has hashes of dictionaries and corpora."""
    forget_checksums(data)
    flip(data / "raw" / "train.en", 0)
    assert main(["verify", str(data)]) == 0
    assert "a data-bin, of an earlier release, without checksums" in capsys.readouterr().out
    check(data, whole=True)
    flip(data / "train.de-en.en.bin", 0)
    check(data)
    with pytest.raises(UserError, match=r"data, train: the sentences have hash \w+, \w+ was written"):
        check(data, whole=True)
    lines = (data / "dict.en.txt").read_text(encoding="utf-8").splitlines()
    (data / "dict.en.txt").write_text("\n".join([lines[1], lines[0], *lines[2:], ""]), encoding="utf-8")
    with pytest.raises(UserError, match=r"dict\.en\.txt is dictionary \w+, \w+ was written"):
        check(data)


def test_a_manifest_that_leads_out_of_the_data_bin(data):
    manifest = json.loads((data / "prepare.json").read_text(encoding="utf-8"))
    del manifest["manifest_sha256"]
    manifest["checksums"]["../secret"] = {"bytes": 1, "sha256": ""}
    (data / "prepare.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"its manifest names '\.\./secret', no file in it"):
        check(data)


@pytest.mark.parametrize("field", ["splits", "corpora", "source_language"])
def test_names_that_lead_out_of_the_data_bin(data, field):
    manifest = json.loads((data / "prepare.json").read_text(encoding="utf-8"))
    del manifest["manifest_sha256"]
    if field == "source_language":
        manifest[field] = "../de"
    else:
        manifest[field]["../de"] = manifest[field]["valid"]
    (data / "prepare.json").write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match=r"prepare\.json is damaged \('\.\./de' is no part of a file's name\)"
    ):
        load_manifest(data)


def test_teacher_ids_of_other_types(data):
    forget_checksums(data)
    path = data / "dict.de.teacher_ids.npy"
    np.save(path, np.load(path).astype(np.float64))
    with pytest.raises(
        UserError, match=r"teacher_ids\.npy is damaged \(float64 of shape \(\d+\), it should be int32"
    ):
        _ = PreparedData(str(data)).pair_format
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"teacher_ids\.npy is damaged \(no array: "):
        _ = PreparedData(str(data)).pair_format


def test_a_training_looks_at_its_data(data, tmp_path):
    flags = ("--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT, "--batch-size", 2)
    flags = (data, *flags, "--criterion", "soft_target_kd", "--kd-alpha", 0, "--max-update", 1, "--no-save")
    flip(data / "train.de-en.en.bin", 0)
    status, errors = exit_of(fairseq_cli.train, *flags, "--save-dir", tmp_path / "s", "--verify-data")
    last = errors.splitlines()[-1]
    assert status == 1 and "train.de-en.en.bin is damaged (checksum" in last and "cmlm-kd prepare" in last
    flip(data / "train.de-en.de.idx", -16)
    status, errors = exit_of(fairseq_cli.train, *flags, "--save-dir", tmp_path / "s")
    assert status == 1 and "train.de-en.de.idx is damaged (checksum" in errors.splitlines()[-1]


def test_an_id_without_an_entry_is_named_where_it_is_read(data, tmp_path):
    """The ids themselves are not read beforehand; one that is too large would be torch's IndexError."""
    size = load_manifest(data).dictionaries["en"].size
    flip(data / "train.de-en.en.bin", -3, 0x40)  # of the last sentence
    said = rf"train\.de-en\.en\.bin is damaged \(sentence 3 has id \d+, its dictionary {size} entries\)"
    sentences = MMapIndexedDataset(str(data / "train.de-en.en"))
    assert len(sentences[0])
    with pytest.raises(UserError, match=said):
        sentences[3]
    with pytest.raises(UserError, match=said):
        PreparedData(str(data)).splits("train", False)[0][1][3]
    flags = ("--task", "translation", *TINY_STUDENT, "--max-tokens", 99, "--save-dir", tmp_path / "out")
    status, errors = exit_of(fairseq_cli.train, data, *flags)
    assert status == 1 and re.search(said, errors.splitlines()[-1])


def _read_by_verify(data):
    assert main(["verify", str(data)]) == 0


def _read_by_score(data):
    raw = str(data / "raw" / "train.en")
    assert main(["score", "--hypothesis", raw, "--reference", raw, "--metrics", "chrf"]) == 0


def _read_by_a_task(data, task="translation_kd"):
    build_task(data, "--task", task, *TINY_STUDENT)


def _read_by_fairseqs_task(data):
    _read_by_a_task(data, "translation")


@pytest.mark.parametrize("read", [_read_by_verify, _read_by_score, _read_by_a_task, _read_by_fairseqs_task])
def test_a_data_bin_that_is_half_moved_is_whole_for_every_reader(written, data, read):
    """A kill of 'prepare --overwrite' leaves files of two data-bins, and no manifest."""
    moved = ["dict.de.txt", "raw/train.en", "train.de-en.de.bin", "prepare.json"]
    for name in moved:
        (data / ".partial" / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).rename(data / ".partial" / "new" / name)
    (data / ".partial" / "commit.json").write_text(json.dumps({"remove": [], "move": moved}))
    read(data)
    assert contents(data) == contents(written)


def test_tasks_look_at_each_part(data, written, tmp_path):
    prepared = PreparedData(str(data))
    flip(data / "train.de-en.en.idx", -16)
    with pytest.raises(UserError, match=r"train\.de-en\.en\.idx is damaged"):
        prepared.splits("train", combine=True)
    prepared.splits("valid", combine=False)
    flip(data / "train.de-en.en.idx", -16)
    lines = (data / "dict.en.txt").read_text(encoding="utf-8").splitlines()
    (data / "dict.en.txt").write_text("\n".join([lines[1], lines[0], *lines[2:], ""]), encoding="utf-8")
    (data / "prepare.json").unlink()  # as fairseq-preprocess writes it
    with pytest.raises(UserError, match=r"dict\.en\.txt is dictionary \w+, .* is \w+; the parts of one"):
        check_fairseq_data([str(written), str(data)], str(data), "train", whole=False)


def test_references_are_compared_where_they_are_scored(data, tmp_path, capsys):
    hypotheses = shutil.copy(data / "raw" / "valid.en", tmp_path)

    def score(reference):
        return main(["score", "--hypothesis", f"copy={hypotheses}", "--reference", str(reference)])

    assert score(data / "raw" / "valid.en") == 0
    flip(data / "raw" / "valid.en")
    assert score(data / "raw" / "valid.en") == 2
    assert re.search(r"raw/valid.en is damaged \(checksum .*; write the data again", capsys.readouterr().err)
    (tmp_path / "raw").mkdir()  # of no data-bin
    assert score(shutil.copy(data / "raw" / "valid.en", tmp_path / "raw")) == 0
