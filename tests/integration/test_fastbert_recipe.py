"""The recipe of FastBERT from the encoder to the table, with two updates a training."""

from pathlib import Path

import pytest
from in_process import check_failing_training, run_recipe
from tiny_classification import sentences, write_bert, write_sst2

from cmlm_kd.models.fastbert.directory import load_fastbert
from cmlm_kd.models.loading import load_student

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


def call(here, *settings, extra=()):
    return run_recipe(
        "classification/fastbert.yaml",
        *("corpora=SST-2,topics", f"data={here / 'data'}", f"bert={here / 'encoder'}"),
        *("updates=2", "target_speedup=1.02", *settings),
        folder=here,
        extra=("--cpu", "--no-progress-bar", *extra),
    )


def follow(here):
    """Run the recipe; returns what it printed and the commands that it gave."""
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


def test_two_corpora_and_again(here):
    printed, given = follow(here)
    trainings = [words for words in given if words[0] == "fairseq-train"]
    kinds = [("bert_classifier", "sentence_classification"), ("fastbert", "sentence_classification")]
    by_kind = [
        [words for words in trainings if (flag(words, "--arch"), flag(words, "--criterion")) == kind]
        for kind in (*kinds, ("fastbert", "fastbert_kd"))
    ]
    assert [len(part) for part in by_kind] == [4, 4, 4] and len(trainings) == 12
    # The plain encoder has the budget of the FastBERT's own, and is another training.
    plain, fine_tuned = ([words for words in part if "text" not in words] for part in by_kind[:2])
    assert budgets(plain) == budgets(fine_tuned) and len(plain) == 2
    # Nothing but the table sees the set that the table is about.
    split = here / "run" / "split"
    assert {words[1] for words in trainings} == {str(split / "SST-2"), str(split / "topics")}
    calibrations = [words for words in given if words[1] == "calibrate"]
    assert sorted(words[3] for words in calibrations) == [str(split / "SST-2"), str(split / "topics")]
    measurements = [words for words in given if words[1] == "exits"]
    assert {(words[3], flag(words, "--split")) for words in measurements} == {
        (str(here / "data" / "SST-2"), "valid"),
        (str(here / "data" / "topics"), "test"),
    }
    for words in measurements:
        assert load_student(Path(flag(words, "--plain"))).description.name == "student bert_classifier"
    for corpus, labels in (("SST-2", ("negative", "positive")), ("topics", ("Sci/Tech", "World"))):
        folder = here / "run" / "encoder" / corpus
        model = load_fastbert(folder / "model")
        assert model.labels == labels and model.stage == "branches" and model.speed is not None
        table = (folder / "report.txt").read_text()
        assert table in printed
        assert all((folder / name).exists() for name in ("exits.png", "exits.html", "calibration.png"))
        rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
        thresholds = ["speed 0.1", "speed 0.5", "speed 0.8", "calibrated"]
        assert rows == ["fine-tuned encoder", *thresholds, *(f"all after layer {n}" for n in (1, 2, 3))]
    again, more = follow(here)
    assert not more
    results = "== FastBERT, SST-2\n"
    assert again[again.rindex(results) :] == printed[printed.rindex(results) :]


def test_a_training_that_fails_ends_it(here):
    failing = call(here, extra=("--no-such-flag",))
    check_failing_training(here / "run", *failing, records="encoder/**/*.json")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("corpora=", "corpora is missing"),
        ("updates=1", "updates is '1'"),
        ("seed=a", "seed is 'a'"),
        ("target_speedup=0.5", "target_speedup is '0.5'; it must be a number at least 1"),
        ("epochs=3", "has no setting 'epochs'"),
    ],
)
def test_refused_settings(here, setting, message):
    done, given = call(here, setting)
    assert done.returncode == 2 and message in done.stderr and not done.stdout and not given
