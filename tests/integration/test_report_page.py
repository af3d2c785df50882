"""``cmlm-kd report --html`` from translators of fairseq and a store to the page, and what it refuses."""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch
import yaml
from disk import largest_file
from fairseq_runs import run_generate
from report_pages import data_of
from tiny_corpus import VOCABULARY, has_teacher_row, write_split, write_store
from tiny_next_tokens import naive_logits, train_translator, write_data

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.databin import Databin
from fairseq_plugins.translators.loading import load_ensemble

LOG = '{"epoch": 1, "valid_nll_loss": "3.9", "valid_num_updates": "1"}\n'
FILES = ["curves.csv", "curves.png", "report.json", "report.txt"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run: two students, of which both are one translator, their outputs, and a store."""
    folder = tmp_path_factory.mktemp("run")
    data = write_data(folder / "data")
    write_split(data, "test", 6, seed=2, max_length=5)
    write_store(folder / "store", data)
    for name in ("alone", "taught"):
        (folder / name).mkdir()
        (folder / name / "train.log").write_text(LOG)
    checkpoint = train_translator(folder / "alone", data)
    shutil.copy(checkpoint, folder / "taught" / "checkpoint_last.pt")
    flags = ("--path", checkpoint, "--gen-subset", "test", "--max-len-b", 5, "--beam", 1, "--cpu")
    printed = run_generate(data, "--task", "translation", *flags)
    speed = "Translated 6 sentences (30 tokens) in 1.0s (6.00 sentences/s, 30.00 tokens/s)\n"
    (folder / "generated.txt").write_text(printed)
    (folder / "generated.log").write_text(speed)
    target = Databin.open(data / "test.de-en.en")
    lines = [" ".join(f"w{entry - 4}" for entry in sentence[:-1]) for sentence in target]
    (folder / "reference.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def command(*more):
    students = [f"{name}={name}/checkpoint_last.pt" for name in ("alone", "taught")]
    generated = [f"{name}=generated.txt" for name in ("alone", "taught")]
    words = ["report", "--student", *students, "--generated", *generated, "--reference", "reference.txt"]
    return [*words, "--baseline", "alone", "--output", "result", "--paired-bs-n", "20", *map(str, more)]


PAGE = ("--html", "page/report.html")
STORE = ("--soft-targets", "store", "--data", "data")


def test_what_students_believe_is_what_they_say_under_teacher_forcing(run, made, capsys):
    assert main(command(*PAGE, *STORE, "--sentences", "4")) == 0
    assert "all numbers: result/report.json; page: page/report.html\n" in capsys.readouterr().out
    html = (run / "page" / "report.html").read_text(encoding="utf-8")
    sentences = data_of(html)["sentences"]
    assert [each["name"] for each in data_of(html, "speaker-data")] == ["teacher", "alone", "taught"]
    assert len(sentences) == 4 and html.count('<article class="example"') == 4
    model = load_ensemble([str(made / "alone" / "checkpoint_last.pt")], made / "data").models[0]
    sides = [Databin.open(made / "data" / f"train.de-en.{language}") for language in ("de", "en")]
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(VOCABULARY - 4))]
    for sentence in sentences:
        row = sentence["number"] - 1
        assert has_teacher_row(sides[1][row])
        expected = torch.softmax(naive_logits(model, sides[0][row], sides[1][row]), -1).numpy()  # (L, V)
        assert len(sentence["tokens"]) == len(expected)
        for token, probs in zip(sentence["tokens"], expected, strict=True):
            for entry in token["entries"]:
                wanted = probs[symbols.index(entry["symbol"])]
                np.testing.assert_allclose(entry["beliefs"][1:], [wanted, wanted], atol=1e-4)
    assert "<dt>source</dt>" in html  # fairseq-generate printed them


def test_without_a_store_one_sentence_says_how_to_show_it(run):
    assert main(command(*PAGE)) == 0
    html = (run / "page" / "report.html").read_text(encoding="utf-8")
    assert "name the store of &#39;cmlm-kd dump&#39; with --soft-targets" in html
    assert sorted(path.name for path in (run / "result").iterdir()) == FILES
    before = (run / "result" / "report.json").read_bytes()
    assert main(command()) == 0
    assert (run / "result" / "report.json").read_bytes() == before, "the page changes no number"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (STORE, "--soft-targets, --data: this is about the page; name it with --html FILE"),
        (("--sentences", 9), "--sentences: this is about the page; name it with --html FILE"),
        (
            (*PAGE, "--soft-targets", "store"),
            "--soft-targets: soft targets are shown of a store and the data-bin",
        ),
        ((*PAGE, "--data", "data"), "--data: soft targets are shown of a store and the data-bin"),
        ((*PAGE, "--split", "valid"), "--split: soft targets are shown of a store and the data-bin"),
        ((*PAGE, "--sentences", 0), "--sentences is 0"),
        ((*PAGE, *STORE, "--split", "valid"), "was dumped for a corpus of sentences: 37, the data has 9"),
        ((*PAGE, *STORE, "-s", "en", "-t", "de"), "was dumped for corpus"),
        ((*PAGE, *STORE, "--split", "nothing"), "has no language pairs for split nothing"),
        ((*PAGE, "--soft-targets", "data", "--data", "data"), "holds no store"),
        (("--html", "result/report.json"), "--html result/report.json is a file of the report's own"),
        (("--html", "result"), "result: Is a directory; a folder is where a file is meant: name a file"),
        (("--html", "data"), "data: Is a directory; a folder is where a file is meant: name a file"),
        (("--html", "reference.txt"), "--html reference.txt is a file that is read; give another one"),
        (
            (*PAGE, *STORE, "-s", "de"),
            "--source-lang is de and the other one is not given; give both, or none",
        ),
        (("--html", "reference.txt/page"), "Not a directory; a file is where a folder is meant"),
    ],
)
def test_refusals_leave_nothing(run, capsys, flags, message):
    before = sorted(path.name for path in run.iterdir())
    assert main(command(*flags)) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_disk_that_is_full_leaves_none_of_the_files(run, capsys, share):
    assert main(command(*PAGE)) == 0
    sizes = [path.stat().st_size for path in (*(run / "result").iterdir(), run / "page" / "report.html")]
    shutil.rmtree(run / "result")
    shutil.rmtree(run / "page")
    capsys.readouterr()
    with largest_file(int(share * max(sizes))):
        assert main(command(*PAGE)) == 2
    assert ": File too large; make room or" in capsys.readouterr().err
    assert not (run / "result").exists() and not (run / "page").exists()


def test_a_page_that_is_there_is_replaced_whole_or_not_at_all(run, capsys):
    (run / "page").mkdir()
    (run / "page" / "report.html").write_text("before")
    with largest_file(9000):
        assert main(command(*PAGE)) == 2
    assert (run / "page" / "report.html").read_text() == "before"
    assert main(command(*PAGE)) == 0
    assert json.loads((run / "result" / "report.json").read_text())["sentences"] == 6
    assert (run / "page" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# -- folders of runs ---------------------------------------------------------------------------------------


def record(run, *more):
    """Write what a recipe leaves in the folder of a run, which lay elsewhere then."""
    words = [
        word.replace("alone/", "/then/alone/").replace("taught/", "/then/taught/") for word in command(*more)
    ]
    words[words.index("--reference") + 1] = "/then/reference.txt"
    words[words.index("--output") + 1] = "/then/result"
    words = [word.replace("=generated.txt", "=/then/generated.txt") for word in words]
    step = {
        "title": "The result",
        "run": f"echo '\n'\n{shlex.join(['cmlm-kd', *words])}",
        "outputs": ["result"],
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump({"steps": {"corpus": {"run": "true"}, "report": step}}))


def test_the_folder_of_a_run_is_enough(run, capsys):
    record(run, "--soft-targets", "/then/store", "--data", "/then/data")
    assert main(command()) == 0
    expected = capsys.readouterr().out.partition("\ncurves: ")[0]
    assert main(["report", ".", "--html", "page.html"]) == 0
    found, _, last = capsys.readouterr().out.partition("\npage: ")
    assert found == expected and last == "page.html\n"
    assert data_of((run / "page.html").read_text())["sentences"]
    assert main(["report", "."]) == 0
    assert capsys.readouterr().out == expected
    assert main(["report", ".", "--output", "again", "--baseline", "taught"]) == 0
    assert json.loads((run / "again" / "report.json").read_text())["baseline"] == "taught"


def test_students_of_two_runs_stand_in_one_table(run, made, capsys):
    for name in ("first", "second"):
        (run / name).mkdir()
        for path in made.iterdir():
            (run / name / path.name).symlink_to(path)
        record(run / name)
    assert main(["report", "first", "second", "--output", "both"]) == 0
    document = json.loads((run / "both" / "report.json").read_text())
    names = [student["name"] for student in document["students"]]
    assert names == ["first:alone", "first:taught", "second:alone", "second:taught"]
    assert document["baseline"] == "first:alone"
    (run / "second" / "reference.txt").unlink()
    (run / "second" / "reference.txt").write_text("other\n")
    assert main(["report", "first", "second", "--output", "x"]) == 2
    assert "second has another reference than first; give runs of one text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "words", "message"),
    [
        (None, ["."], "is no folder of a run, it has no recipe.yaml; give one of"),
        ("{", ["."], "recipe.yaml is damaged; run the recipe again"),
        ("steps: [1]", ["."], "recipe.yaml is damaged; run the recipe again"),
        ("steps: {a: {run: 'true'}}", ["."], "none of its steps is a 'cmlm-kd report'; give the flags"),
        ("whole", [".", "."], "folders of equal names"),
        ("whole", [], "nothing says --student, --generated, --reference, --baseline; give them, or"),
    ],
)
def test_folders_that_are_none_of_a_run(run, capsys, written, words, message):
    if written == "whole":
        record(run)
    elif written is not None:
        (run / "recipe.yaml").write_text(written)
    assert main(["report", *words, "--output", "x"]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "x").exists()
