"""The C-MLM teacher: what it starts from, what it predicts, and how it is kept."""

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import FAMILIES, PIECES, make_config, write_encoder
from tiny_teacher import write_bert
from torch import nn
from transformers import AutoConfig, AutoModel, ElectraForPreTraining

from cmlm_kd.cli import main
from cmlm_kd.data.translation.pairs import PairFormat, frame_pairs
from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID, Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG, DICTIONARY_HASH, TOKENIZER_HASH
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_inference import MaskedPredictor
from cmlm_kd.models.cmlm_loading import (
    load_teacher,
    save_teacher,
    teacher_hash,
)
from cmlm_kd.tokenization.pieces import SpecialIds

SPECIAL = SpecialIds(cls=0, sep=2, mask=4, pad=1, unk=3)
TARGET_IDS = np.array([0, 1, 2, 3, 7, 9, 7, 30, 8, NO_TEACHER_ID, NO_TEACHER_ID, 39], np.int32)
"""Entries 4 and 6 share a piece, 9 and 10 are padding."""


def make_batch(seed=0, rows=3, separators=1):
    """Three pairs of different lengths, some positions of each masked."""
    generator = np.random.default_rng(seed)
    pair_format = PairFormat(SPECIAL, separators, np.arange(5, 15, dtype=np.int32), TARGET_IDS)
    lengths = generator.integers(2, 9, (rows, 2))
    sources = [generator.integers(0, 10, length) for length in lengths[:, 0]]
    targets = [np.append(generator.integers(4, 9, length - 1), 2) for length in lengths[:, 1]]
    masks = [np.arange(len(target)) % 3 == row % 2 for row, target in enumerate(targets)]
    return frame_pairs(sources, targets, masks, pair_format)


def hugging_face_logits(model, batch):
    """Return logits ``(M, pieces)`` without the output layer's bias, the model's own way."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = batch.token_type_ids
    logits = model(**inputs).logits - model.get_output_embeddings().bias
    return logits.flatten(0, 1)[batch.masked_index]


# What it starts from


@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_head_it_starts_as_the_masked_lm_it_comes_from(family, tmp_path):
    model = write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    assert teacher.transform is not None
    with torch.no_grad():
        found, wanted = teacher(batch), hugging_face_logits(model, batch)
    pieces = np.where(TARGET_IDS == NO_TEACHER_ID, SPECIAL.unk, TARGET_IDS)
    torch.testing.assert_close(found, wanted[:, torch.from_numpy(pieces).long()], rtol=1e-5, atol=1e-5)
    assert found.abs().max() > 0.3  # so the comparison was of something


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("electra", "albert")])
def test_without_a_head_it_starts_from_the_encoder(family, tmp_path):
    model = write_encoder(tmp_path, family, head=False)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if teacher.has_token_types:
        inputs["token_type_ids"] = batch.token_type_ids
    with torch.no_grad():
        states = model(**inputs).last_hidden_state.flatten(0, 1)[batch.masked_index]
        wanted = (
            states @ model.get_input_embeddings().weight[torch.from_numpy(np.maximum(TARGET_IDS, 0)).long()].T
        )
        found = teacher(batch)
    known = torch.from_numpy(TARGET_IDS != NO_TEACHER_ID)
    assert teacher.transform is None
    torch.testing.assert_close(found[:, known], wanted[:, known], rtol=1e-5, atol=1e-5)


def test_entries_start_from_the_word_embeddings(tmp_path):
    embeddings = write_encoder(tmp_path).get_input_embeddings().weight
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS)
    weight = teacher.projection.weight
    assert torch.equal(weight[4], weight[6]) and torch.equal(weight[4], embeddings[7])
    assert torch.equal(weight[7], embeddings[30]) and torch.equal(weight[2], embeddings[SPECIAL.sep])
    assert torch.equal(weight[9], embeddings[SPECIAL.unk]) and torch.equal(weight[10], weight[3])
    assert not teacher.projection.bias.any()
    with torch.no_grad():
        weight.zero_()  # a layer of its own: the input embeddings stay
    assert teacher.encoder.get_input_embeddings().weight.abs().min(dim=1).values.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns(family, tmp_path):
    """Otherwise DistributedDataParallel waits for gradients that never come."""
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS)
    batch = make_batch()
    nn.functional.cross_entropy(teacher(batch), batch.labels).backward()
    assert [name for name, parameter in teacher.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("family", "reads"), [("bert", True), ("electra", True), ("roberta", False), ("distilbert", False)]
)
def test_token_types_where_the_model_has_them(family, reads, tmp_path):
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    with torch.no_grad():
        typed = teacher(batch)
        batch.token_type_ids.zero_()
        assert torch.equal(typed, teacher(batch)) != reads


def test_dropout_is_set_everywhere(tmp_path):
    for family in ("bert", "distilbert", "modernbert"):
        write_encoder(tmp_path / family, family)
        teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path / family), TARGET_IDS)
        teacher.set_dropout(0.0)
        batch = make_batch()
        training, evaluating = teacher.train()(batch), teacher.eval()(batch)
        torch.testing.assert_close(training, evaluating)
        teacher.set_dropout(0.5)
        assert not torch.allclose(teacher.train()(batch), evaluating, atol=1e-2)


# What cannot be a teacher


def refusal(directory, target_ids=TARGET_IDS):
    with pytest.raises(UserError) as error:
        ConditionalMaskedLM.from_pretrained(str(directory), target_ids)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_discriminator_has_no_masked_lm_head(tmp_path):
    for embedding_size in (16, 8):
        config = make_config("electra", embedding_size=embedding_size)
        ElectraForPreTraining(config).save_pretrained(tmp_path / str(embedding_size))
    assert ConditionalMaskedLM.from_pretrained(str(tmp_path / "16"), TARGET_IDS).transform is None
    message = refusal(tmp_path / "8")
    assert "size 8" in message and "size 16" in message


def test_models_that_are_no_encoders(tmp_path):
    for model_type in ("gpt2", "t5", "bart"):
        AutoConfig.for_model(model_type).save_pretrained(tmp_path / model_type)
        assert f"a {model_type} model, not a bidirectional encoder" in refusal(tmp_path / model_type)


def test_weights_that_do_not_belong_to_the_configuration(tmp_path):
    write_encoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "no weights for 16 tensors of its encoder, such as bert.encoder.layer.2" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    assert "cannot load a masked language model" in refusal(tmp_path)


def test_files_that_are_missing_or_damaged(tmp_path):
    assert "cannot load a masked language model from" in refusal(tmp_path)
    write_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    assert "cannot load a masked language model from" in refusal(tmp_path)


def test_data_that_use_more_pieces_than_the_teacher_has(tmp_path):
    write_encoder(tmp_path)
    assert f"{PIECES} tokens, the data use token 40" in refusal(tmp_path, np.append(TARGET_IDS, np.int32(40)))


# Inference


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_predictor_predicts_what_the_teacher_does(family, head, tmp_path):
    write_encoder(
        tmp_path, family, head=head, **({"embedding_size": 16} if family in ("electra", "albert") else {})
    )
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    before = copy.deepcopy(teacher.state_dict())
    predictor = MaskedPredictor(teacher, torch.device("cpu"))
    for seed in range(3):
        batch = make_batch(seed, rows=seed + 1)
        with torch.no_grad():
            torch.testing.assert_close(predictor.logits(batch), teacher(batch), rtol=1e-5, atol=1e-5)
    assert (predictor.last_layer is not None) == (
        family in ("bert", "roberta", "xlm-roberta", "camembert", "electra")
    )
    after = teacher.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_autocast_with_converted_matrices_is_plain_autocast(family, tmp_path):
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    predictor = MaskedPredictor(teacher, torch.device("cpu"), bf16_autocast=True)
    batch = make_batch()
    with torch.no_grad():
        exact = teacher(batch)
        with torch.autocast("cpu", torch.bfloat16):
            plain = teacher(batch)
    found = predictor.logits(batch)
    assert found.dtype == torch.float32 and plain.dtype == torch.bfloat16
    torch.testing.assert_close(found, plain.float(), rtol=2**-7, atol=2**-7 * exact.abs().max())
    assert 0 < (found - exact).abs().max() < 0.1 * exact.abs().max()


# Keeping it

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
    assert f"{directory} is damaged (" in message and "'cmlm-kd export --to teacher'" in message


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


def test_weights_that_are_not_finite(data, tmp_path):
    teacher = make_teacher(data)
    nn.init.constant_(teacher.projection.bias[:2], float("inf"))
    save_teacher(teacher, data / "data-bin", tmp_path / "teacher")
    path = write_checkpoint(tmp_path / "checkpoint.pt", teacher)
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
