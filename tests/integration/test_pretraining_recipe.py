"""The recipe of pre-training, every method from the encoder to the tables, with two updates a training."""

import re

import pytest
from in_process import check_failing_training, run_recipe
from tiny_classification import write_bert, write_sst2
from tiny_text import write_text


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")  # its name is part of a socket's, which must be short
    write_text(folder / "text")
    write_sst2(folder / "glue" / "SST-2")
    write_bert(folder / "encoder", labels=None, layers=4, positions=128)
    return folder


def call(here, method, *settings, extra=()):
    return run_recipe(
        "pretraining/pretraining.yaml",
        *(f"methods={method}", f"text={here / 'text'}", f"bert={here / 'encoder'}", "corpora=SST-2"),
        *(f"data={here / 'glue'}", "updates=2", "layers=0,2", "seeds=1", *settings),
        folder=here,
        extra=("--cpu", "--no-progress-bar", *extra),
    )


def follow(here, method, *settings):
    """Run the recipe; returns what it printed and the trainings that it started."""
    done, given = call(here, method, *settings)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done.stdout, [words for words in given if words[0] == "fairseq-train"]


def flag(words, name):
    return words[words.index(name) + 1]


def check_tables(here, method, students, also=()):
    """Look at what is in the folder of the student with a teacher, the second of students."""
    folder = here / "run" / method / students[1]
    names = {"masked.txt", *also}
    assert {path.name for path in folder.glob("masked*.txt")} == names
    tables = [(folder / name).read_text() for name in names]
    assert len(set(tables)) == len(tables)
    for masked in tables:
        assert re.findall(r"^\| (\w+)", masked, re.MULTILINE) == ["model", "teacher", *students[:2]]
        assert "| teacher" in masked and " 100.00 |" in masked and "agreement" in masked
    fine_tuned = (folder / "SST-2.txt").read_text()
    assert re.findall(r"^\| ([\w-]+) ", fine_tuned, re.MULTILINE)[1:] == ["teacher", *students]


def test_distilbert_and_again(here):
    printed, trainings = follow(here, "distilbert")
    alone, distilled = (
        [words for words in trainings if "distilbert" in words and criterion in words]
        for criterion in ("bert_mlm", "distilbert_kd")
    )
    assert len(alone) == len(distilled) == 1 and len(trainings) == 1 + 2 + 3
    for name in ("--init-layers", "--bert", "--max-update", "--lr", "--masking", "--max-tokens", "--seed"):
        assert flag(alone[0], name) == flag(distilled[0], name)
    check_tables(here, "distilbert", ["alone", "distilled"], also={"masked-frequency.txt"})
    again, none = follow(here, "distilbert")
    assert not none and again.count("already there") == printed.count("== ") - 3  # tables have titles twice
    _, trainings = follow(here, "distilbert", "student_name=hot", "flags=--kd-temperature 4")
    (hot,) = [words for words in trainings if "distilbert_kd" in words]
    assert flag(hot, "--kd-temperature") == "4" and "--kd-temperature" not in distilled[0]
    assert len(trainings) == 2  # the student with a teacher and its fine-tuning
    check_tables(here, "distilbert", ["alone", "hot"], also={"masked-frequency.txt"})
    failing = call(here, "tinybert", extra=("--no-such-flag",))  # whose teacher is there already
    check_failing_training(here / "run", *failing, records="tinybert/**/*.json")


def test_tinybert_in_two_stages(here):
    _, trainings = follow(here, "tinybert", "width=8")
    general = [words for words in trainings if "none" in words]
    assert [flag(words, "--criterion") for words in general] == ["tinybert_kd"]
    task = [words for words in trainings if "tinybert_kd" in words and "classification_kd" in words]
    start = str(here / "run" / "tinybert" / "distilled" / "general" / "huggingface")
    assert [flag(words, "--bert") for words in task] == [start, start] and "--kd-stage" in task[1]
    check_tables(here, "tinybert", ["alone", "distilled", "distilled-two-stages"])
    _, trainings = follow(
        *(here, "tinybert", "width=8", "head_updates=2", "head_criterion=distilbert_kd", "student_name=other")
    )
    general, head = [words for words in trainings if flag(words, "--task") == "masked_lm_kd"]
    assert [flag(words, "--criterion") for words in (general, head)] == ["tinybert_kd", "distilbert_kd"]
    assert [flag(words, "--max-update") for words in (general, head)] == ["1", "2"]  # 3 in all, as alone
    check_tables(here, "tinybert", ["alone", "other", "other-two-stages"])


@pytest.mark.long
def test_mobilebert_after_a_teacher_of_its_own(here):
    teaching = ("teacher_updates=3", "teacher_max_tokens=512")
    _, trainings = follow(here, "mobilebert", *teaching)
    (teacher,) = (words for words in trainings if "ib_bert" in words)
    assert (flag(teacher, "--max-update"), flag(teacher, "--max-tokens")) == ("3", "512")
    students = [words for words in trainings if "mobilebert" in words]
    (alone,) = [words for words in students if "bert_mlm" in words]  # the two lanes run at the same time
    transfer, predictions = [words for words in students if "mobilebert_kd" in words]
    for words in (alone, transfer, predictions):  # all begin with the teacher's embeddings and head
        assert flag(words, "--teacher") == str(here / "run" / "mobilebert" / "ib_bert" / "huggingface")
    for name in ("--layers", "--hidden-size", "--bottleneck-size", "--ffn-size", "--dropout", "--lr"):
        assert flag(alone, name) == flag(transfer, name) == flag(predictions, name)
    assert [flag(words, "--max-update") for words in (alone, transfer, predictions)] == ["2", "1", "1"]
    check_tables(here, "mobilebert", ["alone", "distilled"])
    one_stage = {
        "nothing": (
            ["transfer_updates=0", "flags=--kd-hard-share 1 --random-embeddings"],
            ["--kd-transfer-updates", "0"],
        ),
        "together": (["transfer_updates=all"], ["--kd-strategy", "auxiliary"]),
    }
    for name, (given, passed) in one_stage.items():
        _, trainings = follow(here, "mobilebert", *teaching, f"student_name={name}", *given)
        (training,) = [words for words in trainings if "mobilebert_kd" in words]
        assert flag(training, "--max-update") == "2" and flag(training, passed[0]) == passed[1]
        check_tables(here, "mobilebert", ["alone", name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["methods=bert"], "methods is 'bert'; it must be a list of distilbert, tinybert or mobilebert"),
        (["text="], "text is missing"),
        (["bert="], "bert is missing, or teacher"),
        (["teacher=x"], "bert and teacher do not go together"),
        (["updates=1"], "updates is '1'; it must be a whole number above 1"),
        (["layers=0,,1"], "layers is '0,,1'; it must be a list"),
        (["teacher_updates=x"], "teacher_updates is 'x'; it must be a whole number above 0"),
        (["teacher_max_tokens=0"], "teacher_max_tokens is '0'; it must be a whole number above 1"),
        (["head_criterion=pkd"], "head_criterion is 'pkd'; it must be bert_mlm or distilbert_kd"),
        (["head_updates=2667"], "head_updates is 2667; it must be below 2667, all of TinyBERT's"),
        (["transfer_updates=2000"], "transfer_updates is 2000; it must be below 2000, all of"),
        (["width=0"], "width is '0'; it must be a whole number above 0"),
        (["student_name=alone"], "student_name is 'alone'; it must be a text that matches"),
        (["student_name=a/b"], "student_name is 'a/b'; it must be a text that matches"),
        (["methods=distilbert,tinybert", "flags=--kd-temperature 4"], "flags are of one method, not of"),
        (["epochs=3"], "has no setting 'epochs'"),
    ],
)
def test_refused_settings(here, settings, message):
    done, given = call(here, "distilbert", "updates=2000", *settings)
    assert done.returncode == 2 and message in done.stderr and not done.stdout and not given
