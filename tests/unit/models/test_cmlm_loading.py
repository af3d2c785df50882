"""How a C-MLM teacher is kept and comes back: checkpoints, directories, and what is refused of both."""

import copy
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from tiny_encoders import write_encoder
from tiny_pairs import make_batch
from tiny_teacher import write_bert
from torch import nn
from transformers import AutoConfig, AutoModel

from cmlm_kd.cli import main
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG, DICTIONARY_HASH, TOKENIZER_HASH
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_loading import (
    load_teacher,
    save_teacher,
    teacher_hash,
)

LINES = [
    "ein mann geht",
    "a man walks",
    "zwei hunde",
    "two dogs",
    "der mann sieht hunde",
    "the man sees dogs",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data-bin, and beside it another with a dictionary of the same size."""
    root = tmp_path_factory.mktemp("data")
    write_bert(root / "bert", LINES)
    for name, order in (("data", 1), ("other", -1)):
        for suffix, lines in (("de", LINES[::2]), ("en", LINES[1::2])):
            words = [" ".join(line.split()[::order]) for line in lines]
            if name == "other":
                words = [
                    line.replace("man", "dogs dogs dogs man") for line in words
                ]  # another order of frequency
            (root / f"{name}.{suffix}").write_text("\n".join(words) + "\n")
        arguments = ["-s", "de", "-t", "en", "--trainpref", root / name, "--teacher", root / "bert"]
        assert main(["prepare", *map(str, arguments), "--destdir", str(root / name) + "-bin"]) == 0
    return root


def make_teacher(data, **options):
    shutil.rmtree(data / "encoder", ignore_errors=True)
    pieces = len((data / "bert" / "vocab.txt").read_text().splitlines())
    AutoConfig.from_pretrained(data / "bert").save_pretrained(data / "encoder")
    write_encoder(data / "encoder", vocab_size=pieces, **options)
    target_ids = Vocabulary.load(data / "data-bin", "en").teacher_ids
    teacher = ConditionalMaskedLM.from_pretrained(str(data / "encoder"), target_ids).eval()
    nn.init.normal_(teacher.projection.bias)
    return teacher


def assert_same(teacher, other):
    assert not other.training
    assert teacher_hash(teacher) == teacher_hash(other)
    batch = make_batch()
    batch.labels.zero_()
    with torch.no_grad():
        assert torch.equal(teacher(batch), other(batch))


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", True),
        ("bert", False),
        ("roberta", True),
        ("electra", True),
        ("distilbert", True),
        ("albert", True),
    ],
)
def test_a_saved_teacher_comes_back(family, head, data, tmp_path):
    teacher = make_teacher(data, family=family, head=head)
    save_teacher(teacher, data / "data-bin", tmp_path / "teacher")
    assert_same(teacher, load_teacher(tmp_path / "teacher", data / "data-bin"))
    encoder = AutoModel.from_pretrained(tmp_path / "teacher")  # it is an ordinary encoder
    wanted = teacher.encoder.get_input_embeddings().weight
    assert torch.equal(encoder.get_input_embeddings().weight, wanted)
    assert {"cmlm_head.safetensors", "dict.txt", "cmlm.json", "tokenizer.json", "config.json"} <= {
        file.name for file in (tmp_path / "teacher").iterdir()
    }


def test_a_directory_in_use_is_left_alone(data, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        save_teacher(make_teacher(data), data / "data-bin", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def refusal_to_load(path, data_bin):
    with pytest.raises(UserError) as error:
        load_teacher(path, data_bin)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_directories_that_are_no_teachers(data, tmp_path):
    directory, data_bin = tmp_path / "teacher", data / "data-bin"
    assert "does not exist" in refusal_to_load(directory, data_bin)
    assert "no cmlm.json" in refusal_to_load(data / "bert", data_bin)
    save_teacher(make_teacher(data), data_bin, directory)
    assert "fine-tuned for dictionary" in refusal_to_load(directory, data / "other-bin")
    config = (directory / "config.json").read_text()
    (directory / "config.json").write_text(
        config.replace('"intermediate_size": 24', '"intermediate_size": 25')
    )
    assert "is damaged" in refusal_to_load(directory, data_bin)
    (directory / "config.json").write_text(config)
    (directory / "cmlm_head.safetensors").write_bytes(b"short")
    assert "is damaged" in refusal_to_load(directory, data_bin)
    (directory / "cmlm_head.safetensors").unlink()
    assert "cmlm_head.safetensors is missing" in refusal_to_load(directory, data_bin)


def forget_checksums(directory, **changes):
    """Let an exported teacher be one of an earlier release, with some entries changed."""
    description = json.loads((directory / "cmlm.json").read_text())
    del description["checksums"], description["manifest_sha256"]
    (directory / "cmlm.json").write_text(json.dumps({**description, **changes}))


@pytest.mark.parametrize("content", ["", "[]", "3", '{"model_type": ', "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "cmlm.json"])
def test_a_directory_with_a_damaged_description(data, tmp_path, name, content):
    directory = tmp_path / "teacher"
    save_teacher(make_teacher(data), data / "data-bin", directory)
    forget_checksums(directory)
    (directory / name).write_text(content)
    message = refusal_to_load(directory, data / "data-bin")
    assert f"{directory / name} is damaged (" in message
    assert message.endswith("; write it again with 'cmlm-kd export --to teacher'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": "yes"}, 'transform is "yes", it should be a valid boolean'),
        ({"tokenizer": None}, "tokenizer is null, it should be an object"),
        ({"tokenizer": {}}, "tokenizer.hash is missing"),
    ],
)
def test_a_directory_with_entries_of_other_types(data, tmp_path, changes, message):
    directory = tmp_path / "teacher"
    save_teacher(make_teacher(data), data / "data-bin", directory)
    forget_checksums(directory, **changes)
    assert f"cmlm.json is damaged ({message}" in refusal_to_load(directory, data / "data-bin")


def test_a_directory_with_pickled_weights(data, tmp_path):
    """They are never unpickled."""
    directory = tmp_path / "teacher"
    save_teacher(make_teacher(data), data / "data-bin", directory)
    forget_checksums(directory)
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Path("x")}))
    message = refusal_to_load(directory, data / "data-bin")
    assert f"{directory} is damaged (its weights are a pickle of more than tensors" in message
    assert "weights_only" not in message and "'cmlm-kd export --to teacher'" in message


def test_a_directory_of_another_tokenizer(data, tmp_path):
    directory = tmp_path / "teacher"
    save_teacher(make_teacher(data), data / "data-bin", directory)
    tokenizer = json.loads((directory / "cmlm.json").read_text())["tokenizer"]
    forget_checksums(directory, tokenizer={**tokenizer, "hash": "f" * 64})
    message = refusal_to_load(directory, data / "data-bin")
    assert f"was trained with tokenizer ffffffffffff, {data / 'data-bin'} has " in message


def test_every_byte_of_an_exported_teacher_can_be_verified(data, tmp_path, capsys):
    directory = tmp_path / "teacher"
    save_teacher(make_teacher(data), data / "data-bin", directory)
    assert main(["verify", str(directory)]) == 0
    assert "a C-MLM teacher, every byte is as it was written" in capsys.readouterr().out
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    assert main(["verify", str(directory)]) == 2
    assert "model.safetensors is damaged (checksum" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"model\.safetensors is damaged .checksum"):
        load_teacher(directory, data / "data-bin")  # before hours of dumping


def test_weights_that_are_not_finite(data, tmp_path):
    teacher = make_teacher(data)
    nn.init.constant_(teacher.projection.bias[:2], float("inf"))
    save_teacher(teacher, data / "data-bin", tmp_path / "teacher")
    state = task_state(teacher, data / "data-bin")
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher, task_state=state)
    for place in (tmp_path / "teacher", path):
        message = refusal_to_load(place, data / "data-bin")
        assert f"{place}: projection.bias has numbers that are not finite" in message


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ('{"model_type": "nobody-knows"}', "describes a model of type 'nobody-knows', which transformers"),
        ("{}", "describes a model of type None"),
        ("[]", "describes a model of type None"),
        ('{"model_type": ', "describes its model in a way that this version cannot read"),
        ('{"model_type": "bert", "auto_map": {"AutoModel": "m.M"}}', "asks for Python code of its own"),
    ],
)
def test_a_checkpoint_with_another_description(data, tmp_path, described, message):
    teacher = make_teacher(data)
    path = write_checkpoint(tmp_path / "c.pt", teacher, task_state={BERT_CONFIG: described})
    assert message in refusal_to_load(path, data / "data-bin")


def test_a_checkpoint_of_another_tokenizer(data, tmp_path):
    teacher = make_teacher(data)
    state = {**task_state(teacher, data / "data-bin"), TOKENIZER_HASH: "f" * 64}
    path = write_checkpoint(tmp_path / "c.pt", teacher, task_state=state)
    assert "was trained with tokenizer ffffffffffff" in refusal_to_load(path, data / "data-bin")


def write_checkpoint(path, teacher, **entries):
    """Write what fairseq-train would, as far as a teacher's loading reads it."""
    model = {f"teacher.{name}": value for name, value in teacher.state_dict().items()}
    torch.save({"model": model, "cfg": {"model": {"_name": "bert_cmlm", "bert": ""}}, **entries}, path)
    return path


def task_state(teacher, data_bin):
    config = teacher.encoder.config.to_json_string(use_diff=False)
    return {BERT_CONFIG: config, DICTIONARY_HASH: dictionary_hash(data_bin / "dict.en.txt")}


def test_a_checkpoint_carries_all_it_needs(data, tmp_path):
    teacher = make_teacher(data, family="roberta")  # another architecture than that of the data's teacher
    state = task_state(teacher, data / "data-bin")
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher, task_state=state)
    assert_same(teacher, load_teacher(path, data / "data-bin"))


def test_a_checkpoint_without_a_task_state(data, tmp_path):
    teacher = make_teacher(data)
    cfg = {"model": {"bert": str(data / "encoder")}}
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher, cfg=cfg)
    assert_same(teacher, load_teacher(path, data / "data-bin"))
    write_checkpoint(path, teacher)  # fine-tuned from the data's own teacher, which has other sizes
    assert "don't fit the encoder's configuration" in refusal_to_load(path, data / "data-bin")
    write_checkpoint(path, teacher, cfg={"model": {"bert": str(data / "gone")}})
    assert "gone" in refusal_to_load(path, data / "data-bin")


def test_checkpoints_that_do_not_belong_to_the_data(data, tmp_path):
    teacher, data_bin = make_teacher(data), data / "data-bin"
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher, task_state=task_state(teacher, data_bin))
    sizes = [len(Vocabulary.load(data / f"{name}-bin", "en")) for name in ("data", "other")]
    assert sizes[0] == sizes[1]  # so that only the hash tells them apart
    assert "fine-tuned for dictionary" in refusal_to_load(path, data / "other-bin")
    smaller = ConditionalMaskedLM(teacher.encoder, teacher.transform, sizes[0] - 8, 16)
    write_checkpoint(path, smaller)
    assert f"predicts {sizes[0] - 8} entries" in refusal_to_load(path, data_bin)
    torch.save({"model": {"decoder.weight": torch.zeros(1)}}, path)
    assert "holds no C-MLM teacher" in refusal_to_load(path, data_bin)


def test_the_hash_tells_configurations_and_weights_apart(data):
    teacher = make_teacher(data)
    first = teacher_hash(teacher)
    other = copy.deepcopy(teacher)
    assert teacher_hash(other) == first
    nn.init.ones_(other.projection.bias)
    assert teacher_hash(other) != first
    teacher.encoder.config.hidden_act = "relu"
    assert teacher_hash(teacher) != first


def test_export_command(data, tmp_path, capsys):
    teacher = make_teacher(data)
    state = task_state(teacher, data / "data-bin")
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher, task_state=state)
    export = ["export", str(path), "--to", "teacher", "--output", str(tmp_path / "teacher")]
    assert main(export) == 2
    assert "--data" in capsys.readouterr().err
    assert main([*export, "--data", str(data / "data-bin")]) == 0
    assert_same(teacher, load_teacher(tmp_path / "teacher", data / "data-bin"))
    assert main([*export, "--data", str(data / "data-bin")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["export", str(path), "--output", str(tmp_path / "other")]) == 2
    assert "--to teacher" in capsys.readouterr().err
