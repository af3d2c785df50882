"""What a dump refuses, with nothing half-written."""

import re
import shutil

import pytest
import torch
from tiny_dump import ROWS, dump, write_road
from tiny_prepare import forget_checksums
from torch import nn

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.models.cmlm_loading import load_teacher, save_teacher
from cmlm_kd.store import SoftTargetStore


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return write_road(tmp_path_factory.mktemp("road"))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--topk", 0), "--topk is 0"),
        (("--topk", 10_000), "--topk is 10000, the target dictionary has"),
        (("--tail-temperatures", 1, 0), "--tail-temperatures has 0.0"),
        (("--tail-temperatures", -2), "--tail-temperatures has -2.0"),
        (("--tail-temperatures", "nan"), "--tail-temperatures has nan"),
        (("--stride", 0), "--stride is 0"),
        (("--max-tokens", 0), "--max-tokens is 0"),
        (("--shard-rows", -1), "--shard-rows is -1"),
        (("--device", "gpu"), "--device is 'gpu'"),
        (("--split", "test"), "test.de-en.de.idx is missing"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(road, tmp_path, capsys, flags, named):
    assert dump(road, tmp_path / "store", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("cmlm-kd dump: ") and named in error and len(error.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_folder_in_use_is_left_alone(road, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert dump(road, tmp_path) == 2
    assert "isn't empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_dictionary_of_other_data_is_refused(road, tmp_path, capsys):
    shutil.copytree(road / "data", tmp_path / "data")
    dictionary = tmp_path / "data" / "dict.en.txt"
    lines = dictionary.read_text().splitlines()
    dictionary.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    arguments = [tmp_path / "data", "--teacher", road / "teacher1", "--output", tmp_path / "store"]
    assert main(["dump", *map(str, arguments)]) == 2
    assert f"{dictionary} is dictionary " in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_sides_of_different_lengths_are_refused(road, tmp_path, capsys):
    forget_checksums(shutil.copytree(road / "data", tmp_path / "data"))
    short = tmp_path / "short"
    short.mkdir()
    for language in ("de", "en"):
        lines = (road / f"train.{language}").read_text().splitlines()
        (short / f"train.{language}").write_text("\n".join(lines[:-1]) + "\n")
    arguments = ["-s", "de", "-t", "en", "--trainpref", short / "train", "--teacher", road / "bert"]
    assert main(["prepare", *map(str, arguments), "--destdir", str(short / "data")]) == 0
    for suffix in ("bin", "idx"):
        shutil.copy(short / "data" / f"train.de-en.de.{suffix}", tmp_path / "data")
    arguments = [tmp_path / "data", "--teacher", road / "teacher1", "--output", tmp_path / "store"]
    assert main(["dump", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert f"{ROWS - 1} sources but {ROWS} targets; write the data again with 'cmlm-kd prepare'" in error
    assert not (tmp_path / "store").exists()


def test_a_teacher_whose_weights_are_no_numbers(road, tmp_path, capsys):
    teacher = load_teacher(road / "teacher1", road / "data")
    nn.init.constant_(teacher.projection.bias, float("nan"))
    save_teacher(teacher, road / "data", tmp_path / "teacher")
    assert dump(road, tmp_path / "store", teacher=tmp_path / "teacher") == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'teacher'}: projection.bias has numbers that are not finite: the training" in error
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("cmlm.json", content) for content in (b"", b"[]", b"{}", b'{"transform": "yes"}', b'{"transfo')),
        *(("config.json", content) for content in (b"", b"[]", b'{"model_ty', b"\xff")),
        *((name, b"{}") for name in ("cmlm_head.safetensors", "model.safetensors")),
    ],
)
def test_an_exported_teacher_of_damaged_files(road, tmp_path, capsys, name, content):
    save_teacher(load_teacher(road / "teacher1", road / "data"), road / "data", tmp_path / "teacher")
    (tmp_path / "teacher" / name).write_bytes(content)
    assert dump(road, tmp_path / "store", teacher=tmp_path / "teacher") == 2
    printed = capsys.readouterr().err
    line = printed.splitlines()[-1]
    assert "Traceback" not in printed and re.search(rf"{tmp_path / 'teacher'}\S* is damaged \(", line), line
    assert "; write it again with 'cmlm-kd export --to teacher'" in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_weights_are_no_teacher(road, tmp_path, capsys, legacy):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=not legacy)
    assert dump(road, tmp_path / "store", teacher=path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{path} " in error and "checkpoint" in error


def test_a_teacher_that_has_diverged_is_refused(road, tmp_path, capsys):
    teacher = load_teacher(road / "teacher1", road / "data")
    nn.init.constant_(teacher.projection.weight, 3e38)  # finite, but nothing that is multiplied by it is
    save_teacher(teacher, road / "data", tmp_path / "teacher")
    assert dump(road, tmp_path / "store", teacher=tmp_path / "teacher") == 2
    assert "diverged; take an earlier checkpoint, or train again with a lower --lr" in capsys.readouterr().err
    with pytest.raises(UserError, match="unfinished"):
        SoftTargetStore.open(tmp_path / "store")
