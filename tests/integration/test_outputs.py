"""Outputs that cannot be: every command says so in one line, before its work, and leaves nothing behind."""

import pytest
from disk import names

from cmlm_kd.cli import main

FILES = {
    "score": ["score", "--hypothesis", "text", "--reference", "text", "--output"],
    "classify": ["classify", "text", "--model", "no", "--output"],
    "evaluate": ["evaluate", "no", "--corpus", "SST-2", "--model", "no", "--output"],
    "masked": ["evaluate-masked-lm", "no", "--model", "no", "--output"],
    "exits": ["exits", "no", "no", "--corpus", "SST-2", "--output"],
    "plot": ["exits", "no", "no", "--corpus", "SST-2", "--plot"],
    "exits page": ["exits", "no", "no", "--corpus", "SST-2", "--html"],
    "calibrate": ["calibrate", "folder", "no", "--corpus", "SST-2", "--target-accuracy", "0.5", "--plot"],
    "average": ["average", "--inputs", "no", "--output"],
    "augment": ["augment", "no", "--corpus", "SST-2", "--tagger", "os:listdir", "--output"],
    "augment again": ["augment", "no", "--corpus", "SST-2", "--overwrite", "--output"],
}
"""A command that writes a file, to which its name is added; its inputs need not be there."""

FOLDERS = {
    "evaluate": ["evaluate", "no", "--corpus", "SST-2", "--model", "no", "--predictions"],
    "export": ["export", "no", "--output"],
    "bilstm": ["export", "no", "--to", "bilstm", "--output"],
    "teacher": ["export", "no", "--to", "teacher", "--data", "no", "--output"],
    "split": ["split", "no", "--corpus", "SST-2", "--output"],
    "tokenizer": ["train-tokenizer", "--input", "text", "--vocab-size", "9", "--output"],
    "prepare": ["prepare", "--teacher", "no", "-s", "a", "-t", "b", "--trainpref", "no", "--destdir"],
    "numbers": ["numbers-corpus", "--pairs", "2", "--valid", "2", "--test", "2", "--monolingual", "2"],
    "fetch": ["fetch-multi30k"],
    "report": [
        *("report", "--student", "a=no", "--generated", "a=no", "--reference", "no", "--baseline", "a"),
        "--output",
    ],
    "dump": ["dump", "no", "--teacher", "no", "--output"],
    "run": ["run", "recipe.yaml", "--output"],
}
"""The same for commands that write folders."""

RECIPE = "name: r\noutput: out\nsteps:\n  one:\n    title: one\n    run: touch out\n    outputs: [out]\n"


def refused(capsys, words):
    """Run a command; returns the one line that it ends with."""
    status = main([str(word) for word in words])
    printed = capsys.readouterr()
    assert status == 2 and not printed.out, printed.err
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("a\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    return tmp_path


def everything(place):
    return {str(path): path.is_file() and path.read_bytes() for path in place.rglob("*")}


@pytest.mark.parametrize("command", [*FILES.values(), *FOLDERS.values()], ids=" ".join)
def test_places_where_nothing_can_be_written(place, capsys, command):
    before = everything(place)
    long = "n" * 256
    for output, message in {
        "text/below": "Not a directory; a file is where a folder is meant: choose another place",
        "text/far/below": "Not a directory; a file is where a folder is meant: choose another place",
        long: "File name too long; choose a shorter name",
        f"{long}/below": "File name too long; choose a shorter name",
    }.items():
        assert message in refused(capsys, [*command, output]), output
    assert everything(place) == before


@pytest.mark.parametrize("command", FILES.values(), ids=" ".join)
@pytest.mark.parametrize("output", ["folder", "."])
def test_a_folder_where_a_file_is_meant(place, capsys, command, output):
    before = everything(place)
    message = f"{output}: Is a directory; a folder is where a file is meant: name a file"
    assert message in refused(capsys, [*command, output])
    assert everything(place) == before


@pytest.mark.parametrize("command", [*FILES.values(), *FOLDERS.values()], ids=" ".join)
@pytest.mark.parametrize("output", ["", " "])
def test_a_variable_that_nobody_set(place, capsys, command, output):
    """An empty path is the current folder to Python, which has files of the user's."""
    before = everything(place)
    with pytest.raises(SystemExit, match=r"^2$"):
        main([*command, output])
    assert "an empty path; give the name of a file or folder" in capsys.readouterr().err
    assert everything(place) == before


@pytest.mark.parametrize("command", FOLDERS.values(), ids=" ".join)
def test_a_file_where_a_folder_is_meant(place, capsys, command):
    before = everything(place)
    assert "text" in refused(capsys, [*command, "text"])
    assert everything(place) == before and names(place) == ["folder", "recipe.yaml", "text"]
