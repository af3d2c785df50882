"""Translations go into a data-bin as another training set, and stay known as synthetic."""

import json

from tiny_prepare import ENGLISH, GERMAN, flags, write_corpus, write_teacher, write_text
from toy_translator import lines_of, write_lines
from toy_translator import run as translate

from cmlm_kd.cli import main
from cmlm_kd.data.translation.manifest import load_manifest
from cmlm_kd.data.translation.synthetic import synthetic_side
from cmlm_kd.evaluation.report import signature_of_checkpoint, signature_of_student
from cmlm_kd.fairseq_files.checkpoint_keys import TEACHERS


def test_a_translation_becomes_a_training_set(tmp_path, capsys):
    text, teacher = write_corpus(tmp_path), write_teacher(tmp_path)
    monolingual = write_lines(tmp_path / "mono.en", [*ENGLISH, "", ENGLISH[0]])
    written = ["--input", monolingual, "--output", text / "back.de", "--output-source", text / "back.en"]
    assert translate(*written, "--filter", "duplicates") == 0
    assert lines_of(text / "back.en") == ENGLISH
    pair = ["--trainpref", f"{text / 'train'},{text / 'back'}", "--validpref", text / "valid"]
    assert main(flags(text, teacher, *pair)) == 0
    assert "train1: 4 pairs" in (said := capsys.readouterr().out) and "synthetic de by toy" in said
    manifest = load_manifest(text / "data")
    side = manifest.synthetic["train1"]
    assert (side.language, side.model, side.model_hash, side.pick) == ("de", "toy", "a" * 64, "first")
    assert list(manifest.synthetic) == ["train1"]
    signature = signature_of_checkpoint({"task": {"data": str(text / "data")}})
    assert signature.startswith("kd:none|synthetic:train1.de=aaaaaa|v:")
    criterion = {"_name": "soft_target_kd", "kd_alpha": 0.5}
    task = {"data": "data", "soft_targets": "gone,none"}
    named = signature_of_checkpoint({"task": task, "criterion": criterion}, text)
    assert "|synthetic:train1.de=aaaaaa|teacher:unknown|store:unknown|" in named
    state = {"cfg": {"task": {"data": "gone:data"}, "criterion": criterion}, "task_state": {}}
    assert signature_of_student(state, text).startswith("kd:none|synthetic:train1.de=aaaaaa|v:")
    state["task_state"] = {TEACHERS: ["bbbbbbbb"]}  # who answered in training
    assert "|synthetic:train1.de=aaaaaa|teacher:bbbbbb|v:" in signature_of_student(state, text)


def test_text_without_a_manifest_is_no_translation(tmp_path):
    text, teacher = write_corpus(tmp_path), write_teacher(tmp_path)
    (text / "train.en.json").write_text("[]")
    (text / "train.de.json").write_text("no JSON")
    assert synthetic_side(str(text / "train"), ("de", "en")) is None
    assert main(flags(text, teacher)) == 0
    assert "synthetic" not in json.loads((text / "data" / "prepare.json").read_text())
    assert load_manifest(text / "data").synthetic == {}
    write_text(text / "other", GERMAN, ENGLISH)
    assert synthetic_side(str(text / "other"), ("de", "en")) is None
