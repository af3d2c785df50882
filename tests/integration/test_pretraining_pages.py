"""The pages about unlabelled text, command by command, on tiny models."""

import shutil

import pytest
from documentation import commands
from fairseq_runs import run_train
from tiny_classification import write_sst2
from tiny_text import write_masked_lm, write_text
from transformers import AutoModelForMaskedLM, DistilBertForMaskedLM

from cmlm_kd.cli import main

TINY = ("--max-update", 2, "--cpu", "--no-progress-bar", "--max-tokens", 200)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text")
    write_sst2(tmp_path / "glue" / "SST-2")
    write_masked_lm(tmp_path / "encoder", layers=12, width=24, heads=12, positions=128, head=False)
    write_masked_lm(tmp_path / "bert", layers=12, width=24, heads=12, positions=128)
    return tmp_path


def follow(words):
    if words[0] == "fairseq-train":
        run_train(*words[1:], *TINY)
    else:
        assert main(words[1:]) == 0


def test_from_an_encoder_to_a_teacher_to_a_student(here, capsys):
    for words in commands("docs/masked_lm.md"):
        follow(words)
    assert "| distilbert |" in capsys.readouterr().out
    assert isinstance(AutoModelForMaskedLM.from_pretrained("small"), DistilBertForMaskedLM)


def test_bert_mlm(here):
    (words,) = commands("docs/criteria/bert_mlm.md")
    follow(words)
    assert (here / "mlm" / "checkpoint_last.pt").exists()


def test_distilbert(here):
    shutil.copytree("bert", "teacher")
    for words in commands("docs/criteria/distilbert_kd.md"):
        follow(words)
    assert AutoModelForMaskedLM.from_pretrained("distilbert-general").config.n_layers == 6


def test_tinybert_in_the_order_of_its_recipe(here):
    """What the general stage exports is what the task stages read."""
    general, export, first, *_ = commands("docs/criteria/tinybert_kd.md")
    follow(general)
    follow(export)
    assert first[first.index("--bert") + 1] == export[-1] == "small"
    assert AutoModelForMaskedLM.from_pretrained("small").config.hidden_size == 312
