"""The pages about classification, command by command, on tiny models; and the recipe of PKD's grid."""

import pytest
from documentation import commands
from fairseq_runs import run_train
from in_process import run_recipe
from tiny_classification import write_bert, write_pairs, write_sst2

from cmlm_kd.cli import main

TINY = ("--max-update", 2, "--cpu", "--no-progress-bar")


@pytest.mark.parametrize(
    "page", ["docs/classification.md", "docs/criteria/pkd.md", "docs/criteria/sentence_classification.md"]
)
def test_the_pages_commands(tmp_path, monkeypatch, page, capsys):
    monkeypatch.chdir(tmp_path)
    write_sst2(tmp_path / "glue" / "SST-2")
    write_pairs(tmp_path / "glue" / "RTE")
    write_bert(tmp_path / "teacher", layers=12, positions=128)
    write_bert(tmp_path / "bert-base-uncased", labels=None, layers=12, positions=128)
    for words in commands(page):
        if words[0] == "fairseq-train":
            run_train(*words[1:], *TINY)
        else:
            assert main(words[1:]) == 0
    if page != "docs/criteria/sentence_classification.md":
        assert "examples/s, batch 32" in capsys.readouterr().out


def test_the_grid_of_the_paper(tmp_path):
    """One value of most settings, so that the choice between two rests on the log."""
    data, teacher = write_sst2(tmp_path / "data"), write_bert(tmp_path / "teacher")
    done, given = run_recipe(
        "classification/pkd_grid.yaml",
        *(f"data={data}", "corpus=SST-2", f"teacher={teacher}", f"bert={teacher}", "layers=2"),
        *("temperatures=5", "alphas=0.5", "rates=5e-5", "betas=10", "states=unnormalized"),
        folder=tmp_path,
        extra=("--cpu", "--max-update", "2", "--num-workers", "0"),
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert sum(words[0] == "fairseq-train" for words in given) == 2
    best = "best: --kd-temperature 5 --kd-alpha 0.5 --lr 5e-5 --kd-beta 10 --kd-unnormalized"
    assert best in done.stdout and "| student |" in done.stdout
    logs = {log.name for log in (tmp_path / "run").glob("*.log")}
    assert logs == {"plain_5_0.5_5e-5.log", "patient_10_unnormalized.log"}
