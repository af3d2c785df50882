"""Every command of mtdnn_kd's page, and its recipe in the paper's size, on tiny data for two updates."""

import re

import pytest
from documentation import commands
from fairseq_runs import run_train
from in_process import run_recipe
from tiny_classification import write_bert
from tiny_multitask import write_tasks

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

TINY = ("--max-update", 2, "--cpu", "--no-progress-bar", "--num-workers", 0)


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


def best_score(log):
    return max(float(score) for score in re.findall(r"valid on .* \| score ([0-9.]+)", log.read_text()))


def test_the_recipe(here):
    """Three models of which the best two teach one task."""
    settings = {"data": here / "glue", "corpora": "SST-2,QNLI,RTE", "taught": "RTE", "ensemble": 2}
    more = {"bert": here / "bert-base-uncased", "multitask": "--ranking QNLI", "flags": "--max-length 40"}
    given = [f"{name}={value}" for name, value in {**settings, **more, "runs": "1:0.1,3:0.2,2:0"}.items()]
    extra = tuple(map(str, TINY))
    done, given = run_recipe("classification/mtdnn.yaml", *given, folder=here, extra=extra)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    trainings = [words for words in given if words[0] == "fairseq-train"]
    assert len(trainings) == 3 + 2 + 1
    assert sum("--ranking" in words for words in trainings) == 3 + 1
    kept = (here / "run" / "kept.txt").read_text().split()
    scores = {name: best_score(here / "run" / f"multitask-{name}.log") for name in (1, 3, 2)}  # as in runs
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    assert kept == [f"multitask-{name}" for name in best] and len(set(scores.values())) > 1
    for rank, seed in enumerate(best, 1):
        state = read_checkpoint(here / "run" / f"kept-{rank}.pt")
        assert state["cfg"]["common"]["seed"] == seed
    (student,) = [words for words in trainings if "mtdnn_kd" in words]
    assert f"RTE={here}/run/1-RTE-teacher:{here}/run/2-RTE-teacher" in student
    assert "| ensemble " in done.stdout and "| student " in done.stdout


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("ensemble=7", "ensemble is 7; it must be at most 6, the number of runs"),
        ("taught=MRPC", "taught is MRPC; it must be of corpora, SST-2,RTE"),
        ("runs=1", "runs is '1'; it must be a list with commas, each a text that matches"),
    ],
)
def test_refused_settings(here, setting, message):
    settings = {"data": "glue", "corpora": "SST-2,RTE", "taught": "RTE", "bert": "bert-base-uncased"}
    given = [f"{name}={value}" for name, value in settings.items()]
    done, _ = run_recipe("classification/mtdnn.yaml", *given, setting, folder=here)
    assert done.returncode == 2 and message in done.stderr
