"""examples/language_model: the commands of its README, on a model of one layer."""

import pytest
import torch
from documentation import commands, load_script
from tiny_translators import LINES, write_language_model
from transformers import AutoModelForCausalLM

from cmlm_kd.store import SoftTargetStore, verify_store

PAGE = "examples/language_model/README.md"


@pytest.fixture(scope="module")
def distil():
    return load_script("examples/language_model/distil.py")


@torch.inference_mode()
def distance(model, teacher, rows):
    """Return the mean KL divergence from teacher to model, in nats per token."""
    total, tokens = 0.0, 0
    for row in rows:
        mine, right = (each(row[None, :-1]).logits[0].log_softmax(-1) for each in (model, teacher))
        total += (right.exp() * (right - mine)).sum().item()
        tokens += len(row) - 1
    return total / tokens


def test_a_student_comes_nearer_to_its_teacher(distil, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("".join(f"{line}\n" for line in LINES))
    torch.manual_seed(1)
    write_language_model(tmp_path / "TEACHER")
    teacher = AutoModelForCausalLM.from_pretrained("TEACHER", dtype="float32")
    torch.nn.init.normal_(teacher.get_output_embeddings().weight, std=0.5)
    teacher.save_pretrained("TEACHER")
    write_language_model(tmp_path / "STUDENT")
    for _, script, command, *arguments in commands(PAGE):
        assert script == "examples/language_model/distil.py"
        more = (1.0, 60) if command == "train" else ()
        getattr(distil, command)(*arguments, *more)
    verify_store("STORE")
    store = SoftTargetStore.open("STORE")
    rows, _ = distil.read("TEACHER", "text.txt")
    with torch.inference_mode():
        logits = teacher(rows[1][None, :-1]).logits[0]
    assert store[1].ids.tolist() == logits.topk(distil.TOP_K).indices.tolist()
    before, after = (
        distance(AutoModelForCausalLM.from_pretrained(name, dtype="float32"), teacher, rows)
        for name in ("STUDENT", "OUTPUT")
    )
    assert after < 0.9 * before
    assert "0: " in capsys.readouterr().out


def test_other_text_is_refused(distil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("ein hund\n")
    (tmp_path / "b.txt").write_text("ein mann\n")
    write_language_model(tmp_path / "model")
    distil.dump("model", "a.txt", "store")
    with pytest.raises(SystemExit, match="store is of other text, or of a teacher with other tokens"):
        distil.train("model", "b.txt", "store", "output")
    assert not (tmp_path / "output").exists()
