"""Every command of the recipe of mtdnn_kd, of the page and of its script, on tiny data for two updates."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import REPOSITORY, commands
from fairseq_runs import run_train
from tiny_classification import write_bert
from tiny_multitask import write_tasks

from cmlm_kd.cli import main

TINY = ("--max-update", 2, "--cpu", "--no-progress-bar", "--num-workers", 0)
SCRIPT = REPOSITORY / "examples" / "classification" / "mtdnn.sh"

# Stands in for fairseq-train: notes its arguments, and prints a validation whose score is 10 times the seed.
TRAIN = """#!/usr/bin/env bash
printf '%s\\0' fairseq-train "$@" end >> "$RECORD"
while [ $# -gt 0 ]; do [ "$1" = --seed ] && seed=$2; shift; done
echo "INFO | epoch 001 | valid on 'valid' subset | loss 1 | score ${seed:-0}0 | num_updates 2"
"""
KIT = f"""#!/usr/bin/env bash
case $1 in
    user-dir) echo fairseq_plugins ;;
    choose) exec {sys.executable} -m cmlm_kd "$@" ;;
    *) printf '%s\\0' cmlm-kd "$@" end >> "$RECORD" ;;
esac
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the corpora and the encoder that the page names."""
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path / "glue")
    write_bert(tmp_path / "bert-base-uncased", labels=None, layers=2, positions=128)
    return tmp_path


def follow(words, *more):
    if words[0] == "fairseq-train":
        run_train(*words[1:], *TINY, *more)
    else:
        assert main(words[1:]) == 0


def test_the_pages_commands(here, capsys, caplog):
    caplog.set_level("INFO")  # what is logged is read by 'cmlm-kd choose'
    for words in commands("docs/criteria/mtdnn_kd.md"):
        follow(words)
    printed = capsys.readouterr()
    assert "| ensemble " in printed.out and "score " in printed.err
    assert (here / "student-rte" / "model.safetensors").exists()
    assert (here / "teacher-outputs" / "RTE" / "manifest.json").exists()


def script_commands(here, *arguments, **environment):
    """Run the script with stand-ins for the programs; returns the commands it gave, and what it printed."""
    programs = here / "programs"
    programs.mkdir()
    for name, text in (("fairseq-train", TRAIN), ("cmlm-kd", KIT)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    settings = {**os.environ, **environment, "PATH": path, "RECORD": str(here / "record")}
    done = subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    words = (here / "record").read_text().split("\0end\0")
    return [command.split("\0") for command in words if command], done.stdout


def test_the_script(here, capsys):
    """Three models of which the best two teach one task; then what it would have run is run."""
    given, printed = script_commands(
        *(here, "glue", "SST-2,QNLI,RTE", "RTE", "bert-base-uncased", "--max-length", 40),
        RUNS="1:0.1 3:0.2 2:0",
        ENSEMBLE="2",
        MULTITASK="--ranking QNLI",
    )
    assert "kept: multitask-3 multitask-2" in printed
    assert [words[0] for words in given].count("fairseq-train") == 3 + 2 + 1
    (student,) = [words for words in given if "mtdnn_kd" in words]
    assert "RTE=mtdnn/multitask-3-RTE-teacher:mtdnn/multitask-2-RTE-teacher" in student
    for words in given:
        follow(words)
    assert "| student " in capsys.readouterr().out
