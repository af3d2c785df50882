"""What is picked, filtered, counted and written, through the command."""

import json
import sys

import pytest
from toy_translator import lines_of, run, write_lines

TEXTS = ["a b c", "x x", "a b c", "", "l m"]


@pytest.fixture
def flags(tmp_path):
    text = write_lines(tmp_path / "x.de", TEXTS)
    return ["--input", text, "--output", tmp_path / "y.en", "--output-source", tmp_path / "y.de"]


def counts(tmp_path):
    return json.loads((tmp_path / "y.en.json").read_text())["counts"]


def test_the_nearest_to_a_reference_is_picked(flags, tmp_path):
    reference = write_lines(tmp_path / "ref.en", ["C A B", "X X", "B C A", "", "M L"])
    assert run(*flags, "--n-best", 3, "--pick", "bleu", "--reference", reference) == 0
    assert lines_of(tmp_path / "y.en") == ["C A B", "X X", "B C A", "", "M L"]
    assert lines_of(tmp_path / "y.de") == TEXTS


def test_all_hypotheses_with_their_sources_and_scores(flags, tmp_path):
    scores = tmp_path / "all.tsv"
    assert run(*flags, "--n-best", 2, "--pick", "all", "--output-scores", scores) == 0
    assert lines_of(tmp_path / "y.en")[:4] == ["A B C", "B C A", "X X", "X X"]
    assert lines_of(tmp_path / "y.de")[:4] == ["a b c", "a b c", "x x", "x x"]
    assert lines_of(scores)[:3] == ["1\t-0.500000\tA B C", "1\t-1.000000\tB C A", "2\t-0.500000\tX X"]
    assert counts(tmp_path)["written"] == 9


def test_filters_count_their_reasons(flags, tmp_path, capsys):
    assert run(*flags, "--filter", "duplicates", "copy=2", "score=-0.6") == 0
    assert lines_of(tmp_path / "y.en") == lines_of(tmp_path / "y.de") == []
    assert counts(tmp_path)["dropped"] == {"empty": 1, "endless": 0, "copy": 4, "duplicates": 0, "score": 0}
    assert "4 left out: copy" in capsys.readouterr().out


def test_sources_stay_beside_their_hypotheses(flags, tmp_path):
    assert run(*flags, "--filter", "duplicates") == 0
    assert lines_of(tmp_path / "y.en") == ["A B C", "X X", "L M"]
    assert lines_of(tmp_path / "y.de") == ["a b c", "x x", "l m"]
    assert counts(tmp_path)["dropped"] == {"empty": 1, "endless": 0, "duplicates": 1}


def test_a_scorer_picks_and_its_numbers_are_the_scores(flags, tmp_path):
    scorer = tmp_path / "last.py"
    scorer.write_text("import sys\nfor line in sys.stdin: print(ord(line.split('\\t')[1][0]))\n")
    more = [
        "--n-best",
        3,
        "--pick",
        "scorer",
        "--scorer",
        f"{sys.executable} {scorer}",
        "--filter",
        "score=67",
    ]
    assert run(*flags, *more) == 0  # C is 67
    assert lines_of(tmp_path / "y.en") == ["C A B", "X X", "C A B", "M L"]


def test_a_scorer_that_fails_costs_no_translation(flags, tmp_path, capsys):
    more = ["--n-best", 3, "--pick", "scorer", "--scorer"]
    assert run(*flags, *more, "false") == 2
    assert "failed with exit status 1" in capsys.readouterr().err
    assert not (tmp_path / "y.en").exists() and not (tmp_path / "y.de").exists()
    scorer = tmp_path / "one.py"
    scorer.write_text("import sys\nfor line in sys.stdin: print(1)\n")
    assert run(*flags, *more, f"{sys.executable} {scorer}", way="kill0") == 0
    assert lines_of(tmp_path / "y.en")[0] == "A B C"
