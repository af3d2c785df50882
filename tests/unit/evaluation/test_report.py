"""The table of a run: numbers from the right files, verdicts that follow the p-value, curves, signatures."""

import argparse
import csv
import json
import shutil

import numpy as np
import pytest
import sacrebleu
import torch
from disk import largest_file
from tiny_corpus import write_split, write_store

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.generation import DecodingSpeed
from cmlm_kd.evaluation.report import Report, StudentRow, kd_signature, signature_of_checkpoint
from cmlm_kd.evaluation.scores import Score
from cmlm_kd.evaluation.training_log import (
    ValidationPoint,
    read_validations,
    shared_measures,
    write_csv,
    write_png,
)
from cmlm_kd.store.manifest import Manifest

REFERENCE = [f"a dog number {n} runs over the green meadow {n % 5}" for n in range(30)]
JSON_LOG = """\
begin validation on "valid" subset
{"epoch": 1, "valid_loss": "4.1", "valid_nll_loss": "3.9", "valid_bleu": "1.8", "valid_num_updates": "100"}
{"epoch": 1, "train_loss": "4.83", "train_nll_loss": "4.83", "train_num_updates": "100"}
2026 | INFO | valid | {"epoch": 2, "valid_nll_loss": "3.5", "valid_bleu": "7.5", "valid_num_updates": "200"}
{"epoch": 2, "valid_nll_loss": "3.5", "valid_bleu": "7.5", "valid_num_updates": "200"}
{"epoch": 2, "valid_nll_loss": "3.4", "valid_bleu": "7.0", "valid_num_updates": "150"}
{"broken": valid_}
"""
SIMPLE_LOG = """\
epoch 001 | valid on 'valid' subset | loss 4.0 | nll_loss 3.8 | bleu 2.5 | wps 0 | num_updates 100
epoch 001 | loss 4.9 | nll_loss 4.9 | ppl 30 | num_updates 100 | lr 0.01
2026 | INFO | valid | epoch 002 | valid on 'valid' subset | nll_loss nan | bleu 9.5 | num_updates 200
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Logs and curves


def test_json_log(tmp_path):
    points = read_validations(write(tmp_path / "train.log", JSON_LOG))
    assert [(p.updates, p.epoch, p.measures["nll_loss"], p.measures["bleu"]) for p in points] == [
        (100, 1, 3.9, 1.8),
        (150, 2, 3.4, 7.0),
        (200, 2, 3.5, 7.5),
    ]


def test_simple_log_and_values_that_are_no_numbers(tmp_path):
    points = read_validations(write(tmp_path / "train.log", SIMPLE_LOG))
    assert [(p.updates, p.epoch, p.measures["bleu"]) for p in points] == [(100, 1, 2.5), (200, 2, 9.5)]
    assert "nll_loss" not in points[1].measures


def test_log_without_validation(tmp_path):
    with pytest.raises(UserError, match=r"train\.log has no validation; give the --log-file"):
        read_validations(write(tmp_path / "train.log", '{"epoch": 1, "train_loss": "4.83"}\n'))


def test_curves_show_what_all_students_have(tmp_path):
    curves = {
        "alone": [
            ValidationPoint(10, 1, {"nll_loss": 3.0, "bleu": 1.0}),
            ValidationPoint(20, 2, {"nll_loss": 2.0}),
        ],
        "taught": [ValidationPoint(10, 1, {"nll_loss": 2.5})],
    }
    assert shared_measures(curves) == ["nll_loss"]
    write_csv(tmp_path / "curves.csv", curves)
    with (tmp_path / "curves.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["student", "updates", "epoch", "nll_loss"],
            ["alone", "10", "1", "3.0"],
            ["alone", "20", "2", "2.0"],
            ["taught", "10", "1", "2.5"],
        ]
    with pytest.raises(UserError, match="logs of alone, other share neither bleu nor nll_loss"):
        shared_measures({"alone": curves["alone"], "other": [ValidationPoint(1, 1, {"loss": 1.0})]})


def test_picture_is_a_png_and_does_not_change(tmp_path):
    curves = {"alone": [ValidationPoint(n, n, {"bleu": float(n), "nll_loss": 1.0 / n}) for n in (1, 2, 3)]}
    write_png(tmp_path / "one.png", curves)
    write_png(tmp_path / "two.png", curves)
    picture = (tmp_path / "one.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture == (tmp_path / "two.png").read_bytes()
    write_png(tmp_path / "two.png", {"taught": curves["alone"]})
    assert picture != (tmp_path / "two.png").read_bytes()


# Signatures


def test_signature_line():
    part = "kd:soft_target|k:8|T:10|alpha:0.5"
    expected = "kd:soft_target|k:8|T:10|alpha:0.5|teacher:3fa9c1|store:77ab02|v:0.1.0"
    assert kd_signature(part, ["3fa9c1d2"], ["77ab02"], "0.1.0") == expected
    two = kd_signature(part, ["3fa9c1d2", "3fa9c1d2"], ["77ab02", "aa0011"], "0.1.0")
    assert "|teacher:3fa9c1|store:77ab02+aa0011|" in two
    assert "|teacher:unknown|store:unknown|" in kd_signature(part, [], [])


def test_signature_from_the_settings_of_a_checkpoint(tmp_path):
    data = write_split(tmp_path / "data", "train", 20, seed=1)
    store = write_store(tmp_path / "store", data)
    name = Manifest.read(store / "manifest.json").signature
    criterion = {
        "_name": "soft_target_kd",
        "kd_alpha": 0.25,
        "kd_temperature": 4.0,
        "kd_topk": 3,
        "kd_tail": "bucket",
    }
    task = {"_name": "translation_kd", "soft_targets": f"{store}:{store},none"}
    settings = {"criterion": {**criterion, "sentence_avg": False}, "task": task}
    expected = f"kd:soft_target|k:3|T:4|alpha:0.25|tail:bucket|teacher:777777|store:{name}|v:0.1.0"
    assert signature_of_checkpoint(settings) == expected
    settings["task"] = {"soft_targets": "store"}
    assert signature_of_checkpoint(settings, tmp_path) == expected
    assert "|store:unknown|" in signature_of_checkpoint(settings, tmp_path / "elsewhere")
    assert signature_of_checkpoint({"criterion": {"_name": "label_smoothed_cross_entropy"}}) is None


# The report


def row(name, bleu, p_value=None):
    score = Score(bleu, p_value, 1.0)
    return StudentRow(
        name, score, Score(60.0, p_value, 1.0), DecodingSpeed(30, 300, 81.2, 812.5), 1_234_567, 900, None
    )


def test_verdict_follows_the_p_value():
    report = Report(
        [row("alone", 30.0), row("taught", 31.5, 0.049), row("other", 29.0, 0.2)], "alone", 30, {}
    )
    text = report.to_text()
    assert "taught: +1.50 BLEU against alone; the difference is significant (p = 0.0490" in text
    assert "other: -1.00 BLEU against alone; the difference is not significant (p = 0.2000" in text
    assert "| alone   | 30.00 |        | 60.00 |        |        81.2 |" in text
    assert " 1,234,567 " in text
    assert report.to_document()["significant"] == {"taught": True, "other": False}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What a run leaves: two students with checkpoints, logs and translations, and the store of one."""
    monkeypatch.chdir(tmp_path)
    store = write_store(tmp_path / "store", write_split(tmp_path / "data", "train", 20, seed=1))
    for number, (name, log) in enumerate({"alone": JSON_LOG, "taught": SIMPLE_LOG}.items()):
        taught = name == "taught"
        weight = torch.zeros(5, 4)
        state = {
            "cfg": {
                "criterion": {"_name": "soft_target_kd" if taught else "cross_entropy", "kd_topk": 3},
                "task": {"soft_targets": store.name if taught else None},
                "model": argparse.Namespace(arch="transformer"),
            },
            "model": {
                "encoder.version": torch.ones(1),
                "a.weight": weight,
                "b.weight": weight,
                "c": torch.zeros(2),
            },
            "optimizer_history": [{"num_updates": 100 + number}],
        }
        write(tmp_path / name / "train.log", log)
        torch.save(state, tmp_path / name / "checkpoint_best.pt")
        lines = [
            line if n % 3 or taught else line.replace("runs over", "is on")
            for n, line in enumerate(REFERENCE)
        ]
        output = "".join(f"D-{n}\t-0.5\t▁{line.replace(' ', ' ▁')}\n" for n, line in enumerate(lines))
        write(tmp_path / "generated" / f"{name}.txt", output)
        rate = f"{30 / (number + 1):.2f} sentences/s, 9.00 tokens/s"
        speed = f"Translated 30 sentences (300 tokens) in {number + 1}.0s ({rate})"
        write(tmp_path / "generated" / f"{name}.log", f"INFO:fairseq_cli.generate:{speed}\n")
    write(tmp_path / "reference.txt", "".join(f"{line}\n" for line in REFERENCE))
    return tmp_path


COMMAND = [
    *(
        "report",
        "--student",
        "without teacher=alone/checkpoint_best.pt",
        "with teacher=taught/checkpoint_best.pt",
    ),
    *("--generated", "without teacher=generated/alone.txt", "with teacher=generated/taught.txt"),
    *(
        "--reference",
        "reference.txt",
        "--baseline",
        "without teacher",
        "--paired-bs-n",
        "200",
        "--output",
        "result",
    ),
]


def test_command_writes_the_whole_report(run, capsys):
    assert main(COMMAND) == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in (run / "result").iterdir()) == [
        "curves.csv",
        "curves.png",
        "report.json",
        "report.txt",
    ]
    table, place = printed.rsplit("\n\n", 1)
    assert f"{table}\n" == (run / "result" / "report.txt").read_text()
    assert place == "curves: result/curves.png; all numbers: result/report.json\n"
    lines = printed.splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]][::6] == ["with teacher", "9"]
    assert "with teacher: +" in printed and "the difference is significant (p = 0.0" in printed
    version = sacrebleu.__version__
    assert (
        f"    BLEU|nrefs:1|bs:200|seed:12345|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}" in lines
    )
    store = Manifest.read(run / "store" / "manifest.json").signature
    assert (
        f"    with teacher: kd:soft_target|k:3|T:10|alpha:0.5|teacher:777777|store:{store}|v:0.1.0" in lines
    )

    document = json.loads((run / "result" / "report.json").read_text())
    alone, taught = document["students"]
    assert (alone["name"], alone["updates"], alone["parameters"]) == ("without teacher", 100, 22)
    assert alone["kd_signature"] is None
    assert alone["decoding"]["sentences_per_second"] == 30.0
    assert taught["decoding"]["sentences_per_second"] == 15.0
    assert taught["bleu"]["value"] == pytest.approx(100.0)
    assert alone["bleu"]["value"] < 95
    with (run / "result" / "curves.csv").open() as file:
        assert {line["student"] for line in csv.DictReader(file)} == {"without teacher", "with teacher"}


def test_equal_students_are_not_significantly_different(run, capsys):
    (run / "generated" / "alone.txt").write_bytes((run / "generated" / "taught.txt").read_bytes())
    assert main(COMMAND) == 0
    assert (
        "with teacher: +0.00 BLEU against without teacher; the difference is not significant (p = 1.0000"
        in (capsys.readouterr().out)
    )


@pytest.mark.parametrize("baseline", ["without teacher", "without teacher@1"])
def test_one_seed_of_each_is_no_more_than_a_name(run, capsys, baseline):
    """Recipes name the seed of every run; with one of each the table is that of single runs."""
    command = [word.replace(" teacher=", " teacher@1=") for word in COMMAND]
    command[command.index("without teacher")] = baseline
    assert main(command) == 0
    table = capsys.readouterr().out
    assert main([*COMMAND[:-1], "again"]) == 0
    assert table.replace("result/", "again/") == capsys.readouterr().out


def test_several_seeds_are_a_line_each_student_with_all_numbers_in_the_document(run, capsys):
    students, generated = [], []
    for student in ("alone", "taught"):
        for seed in (1, 2, 3):
            folder = run / f"{student}{seed}"
            shutil.copytree(run / student, folder)
            state = torch.load(folder / "checkpoint_best.pt", weights_only=False)
            state["optimizer_history"][-1]["num_updates"] += 10 * seed
            torch.save(state, folder / "checkpoint_best.pt")
            lines = (run / "generated" / f"{student}.txt").read_text().splitlines()
            lines[seed] = lines[seed].replace("dog", "cat")
            output = write(run / "generated" / f"{student}{seed}.txt", "".join(f"{line}\n" for line in lines))
            log = (run / "generated" / f"{student}.log").read_text()
            output.with_suffix(".log").write_text(log.replace(" sentences/s", f"{seed} sentences/s"))
            students.append(f"{student}@{seed}={folder}/checkpoint_best.pt")
            generated.append(f"{student}@{seed}={output}")
    clusters = write(run / "clusters", "".join(f"{n // 2}\n" for n in range(30)))
    command = ["report", "--student", *students, "--generated", *generated, "--baseline", "alone"]
    command += ["--reference", "reference.txt", "--clusters", str(clusters), "--paired-bs-n", "100"]
    assert main([*command, "--output", "result"]) == 0
    printed = capsys.readouterr().out.splitlines()
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (printed[0], printed[2], printed[3])
    ]
    assert cells[0][:6] == ["student", "runs", "BLEU", "p", "chrF2", "p"]
    assert cells[1][:2] == ["alone", "3"] and cells[1][-1] == "120"  # mean updates
    assert cells[2][:2] == ["taught", "3"] and " ± " in cells[2][2]
    assert any(
        line.startswith("taught: +") and "BLEU against alone, 95 % interval" in line for line in printed
    )
    assert any(
        line.startswith("taught: +") and "chrF2 against alone, 95 % interval" in line for line in printed
    )
    assert any("test: Student's t, variance of runs and of 15 clusters" in line for line in printed)

    document = json.loads((run / "result" / "report.json").read_text())
    assert document["test"]["clusters"] == 15 and document["significant"] == {"taught": True}
    taught = document["students"][1]
    assert list(taught["bleu"]["runs"]) == ["taught@1", "taught@2", "taught@3"]
    assert taught["bleu"]["value"] == pytest.approx(np.mean(list(taught["bleu"]["runs"].values())))
    low, high = taught["bleu"]["difference"]["interval"]
    assert 0 < low < taught["bleu"]["difference"]["value"] < high
    assert [one["updates"] for one in taught["runs"]] == [111, 121, 131]
    assert len({one["decoding"]["sentences_per_second"] for one in taught["runs"]}) == 3
    assert taught["decoding"] == taught["runs"][1]["decoding"], "the middle one"
    assert taught["kd_signature"] == taught["runs"][0]["kd_signature"], "equal signatures count once"
    with (run / "result" / "curves.csv").open() as file:
        assert {line["student"] for line in csv.DictReader(file)} == {
            f"{name}@{seed}" for name in ("alone", "taught") for seed in (1, 2, 3)
        }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--baseline": ["nobody"]}, "baseline 'nobody' is not among"),
        ({"--student": ["alone/checkpoint_best.pt"]}, "give NAME=FILE"),
        ({"--generated": ["without teacher=generated/alone.txt"]}, "they must agree"),
        ({"--log": ["nobody=train.log"]}, "--log names nobody"),
        ({"--reference": ["missing.txt"]}, "missing.txt does not exist"),
        (
            {"--student": ["without teacher=no.pt", "with teacher=taught/checkpoint_best.pt"]},
            "no.pt|train.log",
        ),
    ],
)
def test_misuse_leaves_no_output(run, capsys, change, words):
    command, skip = [], False
    for word in COMMAND:
        if word.startswith("--"):
            skip = word in change
        if not skip:
            command.append(word)
    for flag, values in change.items():
        command += [flag, *values]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("cmlm-kd report: ") and error.count("\n") == 1
    assert any(word in error for word in words.split("|"))
    assert not (run / "result").exists()


@pytest.mark.parametrize("there", [False, True])
def test_what_fails_late_writes_none_of_the_files(run, capsys, there):
    """Curves are the last file, and they are larger than the limit."""
    if there:
        assert main(COMMAND) == 0
    before = {path.name: path.read_bytes() for path in (run / "result").iterdir()} if there else {}
    with largest_file(9000):
        assert main([*COMMAND, "--seed", "2"]) == 2
    assert "result/curves.png: File too large; make room or" in capsys.readouterr().err
    assert (run / "result").exists() == there
    assert not there or {path.name: path.read_bytes() for path in (run / "result").iterdir()} == before


def test_logs_that_share_nothing_are_refused_before_anything_is_written(run, capsys):
    write(run / "taught" / "train.log", JSON_LOG.replace("bleu", "other").replace("nll_loss", "another"))
    assert main(COMMAND) == 2
    assert "share neither bleu nor nll_loss; nothing to draw" in capsys.readouterr().err
    assert not (run / "result").exists()
