"""The recipe of classified students, every method from the encoder to the table, two updates a training."""

import json
import re
import shutil
from pathlib import Path

import pytest
from documentation import REPOSITORY, commands
from fairseq_runs import run_train
from in_process import check_failing_training, run_recipe
from tiny_classification import classification, write_bert, write_pairs, write_sst2

from cmlm_kd.cli import main


@pytest.fixture
def here(tmp_path):
    write_sst2(tmp_path / "glue" / "SST-2")
    write_pairs(tmp_path / "glue" / "RTE")
    write_bert(tmp_path / "encoder", labels=None, layers=3, positions=128)
    return tmp_path


def call(here, method, corpora, *settings, extra=()):
    return run_recipe(
        "classification/students.yaml",
        *(f"methods={method}", f"corpora={corpora}", f"data={here / 'glue'}", f"bert={here / 'encoder'}"),
        *("updates=2", "layers=2", *settings),
        folder=here,
        extra=("--cpu", "--no-progress-bar", *extra),
    )


def follow(here, method, corpora, *settings):
    """Run the recipe; returns what it printed and the trainings that it started."""
    done, given = call(here, method, corpora, *settings)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done.stdout, [words for words in given if words[0] == "fairseq-train"]


def flag(words, name):
    return words[words.index(name) + 1]


def check_report(folder, seeds, metric):
    """Look whether the table is that of the measured models."""
    text = (folder / "report.txt").read_text()
    models = {model["name"]: model for model in json.loads((folder / "results.json").read_text())["models"]}
    names = [f"{system}@{seed}" for system in ("alone", "distilled") for seed in seeds]
    assert list(models) == ["teacher", *names]
    sizes = [models[name]["parameters"] for name in names]
    assert max(sizes) < 1.001 * min(sizes)  # augmentation has a word of its own, [MASK]
    values = [models[f"distilled@{seed}"]["metrics"][metric] for seed in seeds]
    assert f"{sum(values) / len(values):.2f}" in re.search(r"\| distilled .*", text)[0]
    return text


def test_pkd_with_two_seeds_and_again(here):
    printed, trainings = follow(here, "pkd", "RTE", "seeds=1,2")
    assert len(trainings) == 2 + 2 * (4 + 1)
    folder = here / "run" / "RTE" / "pkd"
    text = check_report(folder / "seeds-1-2", (1, 2), "accuracy")
    assert text in printed and "standard error" in text and "\nalone: --lr " in text
    # Both students: the same number of settings, of seeds, of updates, and the same data.
    distilled = [words for words in trainings if flag(words, "--criterion") == "pkd"]
    alone = [words for words in trainings if "--layers" in words and words not in distilled]
    assert [len({flag(words, "--seed") for words in part}) for part in (alone, distilled)] == [2, 2]
    assert {flag(words, "--max-update") for words in alone + distilled} == {"2"}
    assert {words[1] for words in trainings} == {str(here / "run" / "split" / "RTE")}
    # What is there is not made again; another seed is one more training of each.
    again, none = follow(here, "pkd", "RTE", "seeds=1,2")
    assert not none and again[again.rindex("== pkd, RTE\n") :] == printed[printed.rindex("== pkd, RTE\n") :]
    _, more = follow(here, "pkd", "RTE", "seeds=1,2,5")
    assert [flag(words, "--seed") for words in more] == ["5", "5"]
    check_report(folder / "seeds-1-2-5", (1, 2, 5), "accuracy")


def test_tinybert_trains_layers_then_predictions(here):
    _, trainings = follow(here, "tinybert", "RTE", "seeds=1")
    layers = [words for words in trainings if "--disable-validation" in words]
    predictions = [words for words in trainings if "--kd-stage" in words]
    assert [len(layers), len(predictions), len(trainings)] == [2, 4, 2 + 4 + 2 + 4]
    assert all(flag(words, "--max-update") == "1" for words in layers + predictions)
    text = check_report(here / "run" / "RTE" / "tinybert" / "seeds-1", (1,), "accuracy")
    assert "distilled: not tested against alone" in text
    # Settings of one's own, one with another training file; teacher and student alone are those there.
    split = here / "run" / "split" / "RTE"
    shutil.copy(split / "train.tsv", split / "more.tsv")
    _, more = follow(here, "tinybert", "RTE", "seeds=1", "settings=1e-3 4e-4 50 more.tsv;1e-3 2e-4")
    assert sorted((flag(words, "--lr"), "more.tsv" in words) for words in more) == [
        *(("1e-3", False), ("1e-3", True), ("2e-4", False), ("4e-4", True))
    ]
    (folder,) = (here / "run" / "RTE").glob("tinybert-*")
    assert "\ndistilled: 1e-3" in check_report(folder / "seeds-1", (1,), "accuracy")


def test_bilstm_learns_from_sentences_that_were_made(here):
    _, trainings = follow(here, "bilstm", "SST-2", "seeds=1")
    text = check_report(here / "run" / "SST-2" / "bilstm" / "seeds-1", (1,), "accuracy")
    assert "\ndistilled: --lr " in text and "--kd-alpha" in text
    assert sum("augmented.tsv" in words for words in trainings) == 4
    split = here / "run" / "split" / "SST-2"
    held = {line.split("\t")[0] for line in (split / "dev.tsv").read_text().splitlines()[1:]}
    published = (here / "glue" / "SST-2" / "train.tsv").read_text().splitlines()[1:]
    kept = (split / "train.tsv").read_text().splitlines()[1:]
    assert len(kept) + len((split / "dev.tsv").read_text().splitlines()[1:]) == len(published)
    made = (split / "augmented.tsv").read_text().splitlines()[1:]
    assert made[: len(kept)] == kept and len(made) > 2 * len(kept) and held


def test_few_labels_and_the_sentences_of_all(here):
    _, trainings = follow(here, "pkd", "SST-2", "seeds=1", "labelled=10")
    check_report(here / "run" / "SST-2" / "pkd" / "seeds-1", (1,), "accuracy")
    split = here / "run" / "split" / "SST-2"
    sentences = (split / "text.tsv").read_text().splitlines()
    labelled = (split / "train.tsv").read_text().splitlines()
    assert sentences[0] == "sentence" and labelled[0] == "sentence\tlabel"
    held = (split / "dev.tsv").read_text().splitlines()
    assert len(labelled) == 1 + 9 and len(held) == 1 + 1
    assert {line.split("\t")[0] for line in labelled} < set(sentences)
    assert held[1].split("\t")[0] not in sentences
    by_criterion = {flag(words, "--criterion"): "--unlabelled" in words for words in trainings}
    assert by_criterion == {"pkd": True, "sentence_classification": False}


@pytest.mark.parametrize("method", ["tinybert", "bilstm"])
def test_few_labels_for_other_methods(here, capsys, method):
    recipe = str(REPOSITORY / "examples" / "classification" / "students.yaml")
    settings = (f"methods={method}", "corpora=SST-2", f"data={here / 'glue'}", f"bert={here / 'encoder'}")
    assert main(["run", recipe, "--dry-run", "--set", *settings, "labelled=5"]) == 0
    printed = capsys.readouterr().out
    trainings = [line.split() for line in printed.splitlines() if line.startswith("fairseq-train")]
    files = {
        (flag(words, "--criterion"), "text.tsv" in words, "--unlabelled" in words) for words in trainings
    }
    assert files == {(f"{method}_kd", True, True), ("sentence_classification", False, False)}
    assert "cmlm-kd augment" not in printed


def test_few_labels_are_not_for_mtdnn(here):
    done, given = call(here, "mtdnn", "SST-2,RTE", "labelled=5")
    assert done.returncode == 2 and not given
    assert "labelled is for students that can do without labels" in done.stderr


@pytest.mark.long  # the road is that of test_mtdnn_recipe.py
def test_mtdnn_teaches_all_tasks_at_once(here):
    printed, trainings = follow(here, "mtdnn", "SST-2,RTE", "seeds=1")
    assert len(trainings) == 4 + 2 * 2 + 4 + 4
    distilled = [words for words in trainings if flag(words, "--criterion") == "mtdnn_kd"]
    teachers = flag(distilled[0], "--teacher").split(",")
    assert [part.split("=")[0] for part in teachers] == ["SST-2", "RTE"]
    assert all(len(part.split(":")) == 2 for part in teachers)
    for corpus in ("SST-2", "RTE"):
        assert f"== mtdnn, {corpus}\n" in printed
        check_report(here / "run" / "mtdnn" / "SST-2+RTE" / corpus / "seeds-1", (1,), "accuracy")


def test_the_pages_other_commands(here, monkeypatch, capsys):
    """Measuring and comparing checkpoints without the script."""
    monkeypatch.chdir(here)
    write_bert(here / "teacher", labels=("entailment", "not_entailment"))
    # Each is followed by a test of its own.
    scripts = ["run.sh"] * 12 + ["fastbert.sh"] + ["fastbert.sh", "early_exit.py"] * 3
    page = commands("examples/classification/README.md")
    others = [words for words in page if words[0] == "cmlm-kd"]
    assert len(others) == 2
    assert [Path(words[1]).name for words in page if words not in others] == scripts
    for seed in (1, 2):
        flags = classification(here / "glue" / "RTE", here / "trained", bert=here / "encoder", corpus="RTE")
        run_train(*flags, "--seed", seed, "--layers", seed)
        for name in ("alone", "distilled"):
            shutil.copy(here / "trained" / "checkpoint_best.pt", here / f"{name}-{seed}.pt")
        shutil.rmtree(here / "trained")
    for words in others:
        assert main(words[1:]) == 0
    assert "distilled: +0.00 accuracy against alone" in capsys.readouterr().out


def test_a_training_that_fails_ends_it(here):
    failing = call(here, "pkd", "RTE", extra=("--no-such-flag",))
    check_failing_training(here / "run", *failing, records="RTE/**/*.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["methods=bert"], "methods is 'bert'; it must be a list of pkd, tinybert, bilstm or mtdnn"),
        (["corpora="], "corpora is missing"),
        (["methods=pkd,bilstm", "settings=1e-4"], "settings are those of one method, not of pkd, bilstm"),
        (["updates=1"], "updates is '1'; it must be a whole number above 1"),
        (["layers=0"], "layers is '0'; it must be a whole number above 0"),
        (["seeds=1,,2"], "seeds is '1,,2'; it must be a list"),
        (["epochs=3"], "has no setting 'epochs'"),
    ],
)
def test_refused_settings(here, settings, message):
    done, given = call(here, "pkd", "RTE", *settings)
    assert done.returncode == 2 and message in done.stderr and not done.stdout and not given
