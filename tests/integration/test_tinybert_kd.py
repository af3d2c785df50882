"""``tinybert_kd`` by fairseq-train: both stages, resuming with the projection, what is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from documentation import commands
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import classification, write_bert, write_pairs, write_sst2
from transformers import AutoModelForSequenceClassification

from cmlm_kd.cli import main

STUDENT = {"labels": None, "layers": 2, "width": 8, "heads": 2, "seed": 5}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_sst2(folder / "SST-2", train=32)
    write_pairs(folder / "STS-B", "STS-B", train=16)
    write_bert(folder / "teacher", layers=4, width=16, heads=2)
    write_bert(folder / "scorer", labels=(), layers=4)
    write_bert(folder / "student", **STUDENT)
    return folder


def flags(corpus, save_dir, *more, student="student", teacher="teacher", data="SST-2"):
    return classification(
        corpus / data,
        save_dir,
        *("--teacher", corpus / teacher, "--lr", 0.01, *more),
        bert=corpus / student,
        corpus=data,
        criterion="tinybert_kd",
    )


def load(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)


def projection(checkpoint):
    return {key.rsplit("maps.", 1)[1]: value for key, value in checkpoint["criterion"].items()}


@pytest.mark.parametrize(
    ("more", "shapes"),
    [
        ((), {"embeddings.weight": (16, 8), "layers.weight": (16, 8)}),
        (
            ("--kd-mode", "original", "--kd-teacher-dropout", "--kd-layer-map", "last"),
            {"shared.weight": (16, 8), "shared.bias": (16,)},
        ),
        (("--kd-projection", "layerwise", "--kd-layer-map", "2:3", "--kd-embedding-weight", 0), None),
    ],
)
def test_intermediate_stage(corpus, tmp_path, caplog, more, shapes):
    with caplog.at_level("INFO"):
        run_train(*flags(corpus, tmp_path, *more))
    checkpoint = load(tmp_path)
    found = {key: tuple(value.shape) for key, value in projection(checkpoint).items()}
    assert found == (shapes or {"layer2.weight": (16, 8), "layer2.bias": (16,)})
    assert not [key for key in checkpoint["model"] if "maps" in key or "projection" in key]
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "attention_loss" in logged and "hidden_loss" in logged
    assert ("embedding_loss" in logged) == (shapes is not None)


def test_resuming_brings_the_projection_back(corpus, tmp_path):
    run_train(*flags(corpus, tmp_path / "whole", "--max-update", 4))
    run_train(*flags(corpus, tmp_path / "parts", "--max-update", 2))
    half = projection(load(tmp_path / "parts"))
    run_train(*flags(corpus, tmp_path / "parts", "--max-update", 4))
    whole, parts = load(tmp_path / "whole"), load(tmp_path / "parts")
    for name, value in projection(whole).items():
        torch.testing.assert_close(projection(parts)[name], value)
        assert not torch.equal(half[name], value)
    for name, value in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], value)


def test_prediction_stage_goes_on_from_the_first(corpus, tmp_path):
    run_train(*flags(corpus, tmp_path / "first", "--max-update", 2))
    start = tmp_path / "first" / "checkpoint_last.pt"
    second = ("--kd-stage", "prediction", "--finetune-from-model", start, "--lr", 0.0)
    run_train(*flags(corpus, tmp_path / "second", *second, "--max-update", 1))
    first, unchanged = load(tmp_path / "first"), load(tmp_path / "second")
    assert unchanged["criterion"] is None  # no projection any more
    for name, value in first["model"].items():
        torch.testing.assert_close(unchanged["model"][name], value)
    run_train(*flags(corpus, tmp_path / "third", *second[:-1], 0.01))
    head = next(name for name in first["model"] if name.endswith("classifier.weight"))
    assert not torch.equal(load(tmp_path / "third")["model"][head], first["model"][head])


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_regression(corpus, tmp_path, caplog, mode):
    more = ("--kd-stage", "prediction", "--kd-mode", mode)
    with caplog.at_level("INFO"):
        run_train(*flags(corpus, tmp_path, *more, teacher="scorer", data="STS-B"))
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "prediction_loss" in logged
    assert ("reads no teacher" in logged) == (mode == "original")


@pytest.mark.parametrize(
    ("student", "more", "message"),
    [
        ({"heads": 4}, (), "have 4 and 2 attention heads"),
        ({}, ("--kd-projection", "none"), "hidden states of width 8 and 16"),
        ({"layers": 5}, (), "the student is deeper than its teacher"),
        ({"extra": ("zebra",)}, (), "their tokenizers differ"),
        ({}, ("--kd-layer-map", "2,5"), "teacher layer 5 is not in 1 to 4"),
        ({}, ("--kd-temperature", 0), "--kd-temperature is 0.0; it must be above 0"),
    ],
)
def test_impossible_pairs_are_refused_before_training(corpus, tmp_path, student, more, message):
    write_bert(tmp_path / "student", **{**STUDENT, **student})
    given = flags(corpus, tmp_path / "run", *more, student=tmp_path / "student")
    status, errors = exit_of(train, *given)
    assert status == 1 and message in errors and "Traceback" not in errors
    assert "tinybert_kd" in errors and not (tmp_path / "run" / "checkpoint_last.pt").exists()


def test_the_pages_commands(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("SST-2", "glue/SST-2"), ("teacher", "teacher"), ("student", "small")):
        shutil.copytree(corpus / folder, tmp_path / name)
    tiny = ("--max-update", 2, "--cpu", "--no-progress-bar")
    *_, first, second = commands("docs/criteria/tinybert_kd.md")  # the others: test_pretraining_pages.py
    run_train(*first[1:], *tiny)
    run_train(*second[1:], *tiny)
    assert load(Path("tinybert"))["criterion"] is None
    assert main(["export", "tinybert/checkpoint_last.pt", "--to", "huggingface", "--output", "exported"]) == 0
    exported = AutoModelForSequenceClassification.from_pretrained("exported")
    assert not [name for name, _ in exported.named_parameters() if "maps" in name]


def test_heads_may_differ_without_attention(corpus, tmp_path):
    write_bert(tmp_path / "student", **{**STUDENT, "heads": 4})
    run_train(*flags(corpus, tmp_path, "--kd-attention-weight", 0, student=tmp_path / "student"))
    assert set(projection(load(tmp_path))) == {"embeddings.weight", "layers.weight"}
