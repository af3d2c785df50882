"""examples/classification/fastbert.sh from the encoder to the table, with two updates a training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import REPOSITORY
from in_process import check_failing_training, run_script
from tiny_classification import sentences, write_bert, write_sst2

from cmlm_kd.models.fastbert.directory import load_fastbert
from cmlm_kd.models.loading import load_student

SCRIPT = REPOSITORY / "examples" / "classification" / "fastbert.sh"
ENVIRONMENT = REPOSITORY / ".venv"
NAMES = ("World", "Sci/Tech")


@pytest.fixture
def here(tmp_path):
    write_sst2(tmp_path / "data" / "SST-2")
    (tmp_path / "data" / "topics").mkdir()
    for name, count, seed in (("dev", 40, 3), ("test", 12, 4)):  # as AG News comes: no train.tsv
        rows = "".join(f"{text}\t{NAMES[label]}\n" for text, label in sentences(count, seed))
        (tmp_path / "data" / "topics" / f"{name}.tsv").write_text(rows)
    write_bert(tmp_path / "encoder", labels=None, layers=3, positions=128)
    return tmp_path


def call(here, *extra):
    return run_script(
        SCRIPT,
        *("--corpus", "SST-2,topics", "--data", here / "data", "--bert", here / "encoder"),
        *("--output", here / "run", "--updates", 2, "--target-speedup", 1.02),
        folder=here,
        extra=("--cpu", "--no-progress-bar", *extra),
    )


def follow(here):
    """Run the script; returns what it printed and the commands that it gave."""
    done, given = call(here)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done.stdout, given


def flag(words, name):
    return words[words.index(name) + 1]


def budgets(trainings):
    """Learning rate of each training -> its words, without what names it."""
    named = ("--arch", "--save-dir", "--log-file")
    return {
        flag(words, "--lr"): [word for word in words if word not in {flag(words, name) for name in named}]
        for words in trainings
    }


needs_environment = pytest.mark.skipif(
    os.path.realpath(sys.prefix) != os.path.realpath(ENVIRONMENT),
    reason=f"fastbert.sh works in {ENVIRONMENT}; 'bash scripts/test.sh' makes it and runs the tests in it",
)


@needs_environment
def test_two_corpora_and_again(here):
    printed, given = follow(here)
    trainings = [words for words in given if words[0] == "fairseq-train"]
    assert [(flag(words, "--arch"), flag(words, "--criterion")) for words in trainings[:6]] == [
        *[("bert_classifier", "sentence_classification")] * 2,
        *[("fastbert", "sentence_classification")] * 2,
        *[("fastbert", "fastbert_kd")] * 2,
    ]
    assert len(trainings) == 12
    # The plain encoder has the budget of the FastBERT's own, and is another training.
    assert budgets(trainings[:2]) == budgets(trainings[2:4])
    # Nothing but the table sees the set that the table is about.
    split = here / "run" / "split"
    assert {words[1] for words in trainings} == {str(split / "SST-2"), str(split / "topics")}
    calibrations = [words for words in given if words[1] == "calibrate"]
    assert [words[3] for words in calibrations] == [str(split / "SST-2"), str(split / "topics")]
    measurements = [words for words in given if words[1] == "exits"]
    assert [flag(words, "--split") for words in measurements] == ["valid", "test"]
    for words in measurements:
        assert load_student(Path(flag(words, "--plain"))).description.name == "student bert_classifier"
    for corpus, labels in (("SST-2", ("negative", "positive")), ("topics", ("Sci/Tech", "World"))):
        folder = here / "run" / "encoder" / corpus
        model = load_fastbert(folder / "model")
        assert model.labels == labels and model.stage == "branches" and model.speed is not None
        table = (folder / "report.txt").read_text()
        assert table in printed and (folder / "exits.png").exists() and (folder / "calibration.png").exists()
        rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
        thresholds = ["speed 0.1", "speed 0.5", "speed 0.8", "calibrated"]
        assert rows == ["fine-tuned encoder", *thresholds, *(f"all after layer {n}" for n in (1, 2, 3))]
    again, more = follow(here)
    assert {words[1] for words in more} == {"choose"}
    assert again[again.index("== FastBERT") :] == printed[printed.index("== FastBERT") :]


@needs_environment
def test_a_training_that_fails_ends_it(here):
    check_failing_training(here / "run", *call(here, "--no-such-flag"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x", "--bert", "y"], "--corpus is missing"),
        (["--corpus", "x", "--data", "x", "--bert", "y", "--updates", "1"], "--updates is '1'"),
        (["--corpus", "x", "--data", "x", "--bert", "y", "--seed", "a"], "--seed is 'a'"),
        (["--seed"], "--seed needs a value"),
        (["--epochs", "3"], "unknown option --epochs"),
    ],
)
def test_arguments(arguments, message):
    done = subprocess.run(["bash", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr and not done.stdout
