"""Shortlists: what the aligner finds in training data, and the file that CTranslate2 reads."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cmlm_kd.deployment.shortlist import Shortlist, learn_shortlist
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import write_databin
from cmlm_kd.tokenization.spelling import SPECIALS

PAIRS = [("ein hund", "a dog"), ("ein mann", "a man"), ("hund 7", "dog 7"), ("mann 7", "man 7")]
GERMAN = [*SPECIALS, "ein", "hund", "mann", "7", "baum", "Berlin"]
ENGLISH = [*SPECIALS, "a", "dog", "man", "7", "Berlin", "tree"]
END = 2


def write_pairs(folder, split, pairs, pair="de-en"):
    for side, (language, symbols) in enumerate((("de", GERMAN), ("en", ENGLISH))):
        rows = [np.array([*map(symbols.index, text[side].split()), END]) for text in pairs]
        write_databin(folder / f"{split}.{pair}.{language}", rows, len(symbols))


def student(data):
    return SimpleNamespace(
        data=Path(data), languages=("de", "en"), source_symbols=GERMAN, target_symbols=ENGLISH
    )


def test_the_likeliest_translations_come_from_all_training_splits(tmp_path):
    write_pairs(tmp_path, "train", PAIRS * 10)
    write_pairs(tmp_path, "train1", [("Berlin", "tree"), ("", "a"), ("<unk>", "a")])
    write_pairs(tmp_path, "valid", [("baum", "tree")])
    found = learn_shortlist(student(tmp_path), 1)
    assert found.of == {
        "ein": ["a"],
        "hund": ["dog"],
        "mann": ["man"],
        "7": ["7"],
        "Berlin": ["tree", "Berlin"],  # the last because the target has it, too
    }
    assert list(found.always) == ["a"] and found.entries == len(ENGLISH)
    assert found.among(["hund", "mann", "never"]) == 3


def test_a_student_of_the_other_direction_reads_the_same_data(tmp_path):
    write_pairs(tmp_path, "train", PAIRS * 10, pair="en-de")
    assert learn_shortlist(student(tmp_path), 1).of["hund"] == ["dog"]


def test_the_file_has_a_line_a_token_and_one_for_all(tmp_path):
    Shortlist(2, ["a", "dog"], {"hund": ["dog", "dogs"], "rare": []}, 9).write(tmp_path)
    assert (tmp_path / "vmap.txt").read_text() == "\ta dog\nhund\tdog dogs\n"


@pytest.mark.parametrize(
    ("german", "message"),
    [
        (
            [[4, 99, END]],
            r"train\.de-en\.de\.bin is damaged \(sentence 0 has id 99, its dictionary 10 entries\)",
        ),
        ([[4, END], [5, END]], r"train: 2 sources but 1 targets"),
    ],
)
def test_damaged_training_data_are_named(tmp_path, german, message):
    write_pairs(tmp_path, "train", PAIRS[:1])
    write_databin(tmp_path / "train.de-en.de", [np.array(row) for row in german], 100)
    with pytest.raises(UserError, match=message):
        learn_shortlist(student(tmp_path), 1)


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no training data \(train\.de-en\.de\.bin\).*--data"):
        learn_shortlist(student(tmp_path), 1)
    monkeypatch.setitem(sys.modules, "thot.alignment", None)
    with pytest.raises(UserError, match=r"pip install 'cmlm-kd\[shortlist\]'"):
        learn_shortlist(student(tmp_path), 1)
