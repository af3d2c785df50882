"""``cmlm-kd prepare --dictionaries``: text in another data-bin's entries, so that models of both read it."""

import pytest
from tiny_prepare import ENGLISH, GERMAN, refuse, run, symbols_of, write_corpus, write_teacher, write_text

from cmlm_kd.data.translation.manifest import load_manifest
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.fairseq_files.databin import Databin


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def first(tmp_path, teacher):
    """A data-bin of all the text there is."""
    text = tmp_path / "first"
    text.mkdir()
    return run(write_corpus(text), teacher)


@pytest.fixture
def text(tmp_path):
    """Less text, whose own dictionaries would be smaller."""
    folder = write_corpus(tmp_path)
    write_text(folder / "train", GERMAN[:1], ENGLISH[:1])
    return folder


def test_entries_are_those_of_the_other_data_bin(first, text, teacher):
    data = run(text, teacher, "--dictionaries", str(first))
    for language, line in (("de", GERMAN[0]), ("en", ENGLISH[0])):
        theirs, ours = (Vocabulary.load(folder, language) for folder in (first, data))
        assert ours.symbols == theirs.symbols
        assert ours.teacher_ids.tolist() == theirs.teacher_ids.tolist()
        row = symbols_of(first, "train", language)[0]
        assert symbols_of(data, "train", language) == [row]
        rows = [Databin.open(folder / f"train.de-en.{language}")[0].tolist() for folder in (first, data)]
        assert rows[0] == rows[1], line
    assert load_manifest(data).dictionaries == load_manifest(first).dictionaries


def test_tokens_that_the_other_data_bin_has_not_are_unknown_and_counted(text, teacher):
    small = run(text, teacher)
    write_text(text / "train", GERMAN, ENGLISH)
    run(text, teacher, "--dictionaries", str(small), "--destdir", str(text / "large"))
    data = text / "large"
    unknown = sum(row.count("<unk>") for row in symbols_of(data, "train", "en"))
    assert load_manifest(data).splits["train"].unknown["en"] == unknown > 0


def test_what_counts_for_keeping_a_data_bin_is_what_the_dictionaries_hold(
    first, text, teacher, tmp_path, capsys
):
    run(text, teacher, "--dictionaries", str(first))
    moved = first.rename(tmp_path / "moved")
    run(text, teacher, "--dictionaries", str(moved))  # equal, so kept
    refuse(text, teacher, "was prepared with another", capsys)


def test_other_languages(first, text, teacher, capsys):
    for side in ("de", "en"):
        for split in ("train", "valid"):
            (text / f"{split}.{side}").rename(text / f"{split}.{side}x")
    message = "has the languages de and en, the text dex and enx; give a data-bin of the same two"
    refuse(text, teacher, message, capsys, ["--dictionaries", str(first), "-s", "dex", "-t", "enx"])


def test_the_two_languages_may_change_places(first, text, teacher):
    data = run(text, teacher, "--dictionaries", str(first), "-s", "en", "-t", "de")
    assert Vocabulary.load(data, "en").symbols == Vocabulary.load(first, "en").symbols


def test_another_tokenizer(first, text, tmp_path, capsys):
    folder = tmp_path / "other"
    folder.mkdir()
    other = write_teacher(folder)
    config = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(
        config.replace('"lowercase": true', '"lowercase": false'), encoding="utf-8"
    )
    message = "is in the tokens of .* has others (tokenizer [0-9a-f]{6}); give both the same teacher"
    refuse(text, other, message, capsys, ["--dictionaries", str(first)])


def test_one_dictionary_for_both_languages(first, text, teacher, capsys):
    refuse(
        text,
        teacher,
        "has two dictionaries; leave out --joined-dictionary",
        capsys,
        ["--dictionaries", str(first), "--joined-dictionary"],
    )


def test_no_data_bin(text, teacher, tmp_path, capsys):
    refuse(text, teacher, "has no prepare.json", capsys, ["--dictionaries", str(tmp_path / "nothing")])


def test_dictionaries_that_are_damaged(first, text, teacher, capsys):
    path = first / "dict.en.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    refuse(text, teacher, r"dict.en.txt is dictionary .* was written", capsys, ["--dictionaries", str(first)])
