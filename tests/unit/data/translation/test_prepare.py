"""``cmlm-kd prepare``: what it writes, what it refuses, and that a refusal touches nothing."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_prepare import (
    ENGLISH,
    GERMAN,
    contents,
    flags,
    refuse,
    run,
    symbols_of,
    write_corpus,
    write_teacher,
    write_text,
)
from tiny_tokenizers import training_lines, write_config, write_wordpiece

from cmlm_kd.cli import main
from cmlm_kd.data.translation.manifest import DictionaryRecord, load_manifest
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds, pieces_to_text


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def text(tmp_path):
    return write_corpus(tmp_path)


# What is written


def test_fairseq_reads_the_teachers_pieces(text, teacher):
    data = run(text, teacher)
    tokenizer = PieceTokenizer.from_pretrained(str(teacher))
    for language, lines in (("de", GERMAN), ("en", ENGLISH)):
        rows = symbols_of(data, "train", language)
        expected = [pieces.symbols for pieces in tokenizer.encode_batch(lines)]
        assert rows == [[*symbols, "</s>"] for symbols in expected]
        assert [pieces_to_text(row[:-1]) for row in rows] == lines
        vocabulary = Vocabulary.load(data, language)
        used = {symbol for symbols in expected for symbol in symbols}
        assert {s for s in vocabulary.symbols[4:] if not s.startswith("madeupword")} == used
        rows = Databin.open(data / f"train.de-en.{language}")
        special = tokenizer.special
        for row, pieces in zip(rows, tokenizer.encode_batch(lines), strict=True):
            assert vocabulary.teacher_ids[row].tolist() == [*pieces.teacher_ids, special.sep]


def test_the_manifest_says_what_is_there(text, teacher):
    data = run(text, teacher)
    manifest = load_manifest(data)
    train = [Databin.open(data / f"train.de-en.{language}") for language in ("de", "en")]
    assert manifest.corpora["train"] == corpus_hash(*train)
    assert manifest.dictionaries["en"] == DictionaryRecord(
        len(Vocabulary.load(data, "en")), dictionary_hash(data / "dict.en.txt")
    )
    assert manifest.splits["train"].pieces == {"de": len(train[0].tokens), "en": len(train[1].tokens)}
    assert manifest.splits["valid"].unknown["de"] == sum(
        row.count("<unk>") for row in symbols_of(data, "valid", "de")
    )
    assert (manifest.source_language, manifest.teacher) == ("de", str(teacher))
    assert manifest.tokenizer.special == SpecialIds(cls=2, sep=3, mask=4, pad=0, unk=1)


def test_the_copy_of_the_teachers_tokenizer_is_the_teachers(text, teacher):
    copy = run(text, teacher) / "teacher"
    lines = [*GERMAN, *ENGLISH]
    ours = PieceTokenizer.from_pretrained(str(copy)).encode_batch(lines)
    assert ours == PieceTokenizer.from_pretrained(str(teacher)).encode_batch(lines)
    assert json.loads((copy / "config.json").read_text())["max_position_embeddings"] == 64


def test_a_relative_teacher_is_found_from_any_folder(text, teacher, monkeypatch):
    monkeypatch.chdir(teacher.parent)
    assert load_manifest(run(text, teacher.name)).teacher == str(teacher)


def test_raw_text_is_kept_for_scoring(text, teacher):
    write_text(text / "train", [" Zwei\u00a0 Männer.  ", *GERMAN], ["Two men.\t", *ENGLISH])
    raw = run(text, teacher) / "raw"
    assert (raw / "train.de").read_text().split("\n")[:2] == [" Zwei\u00a0 Männer.  ", GERMAN[0]]
    assert (raw / "valid.en").read_text() == (text / "valid.en").read_text()


def test_a_joined_dictionary_serves_both_languages(text, teacher):
    data = run(text, teacher, "--joined-dictionary")
    for name in ("dict.{}.txt", "dict.{}.teacher_ids.npy"):
        source, target = ((data / name.format(language)).read_bytes() for language in ("de", "en"))
        assert source == target
    rows = [*symbols_of(data, "train", "de"), *symbols_of(data, "train", "en")]
    assert {symbol for row in rows for symbol in row} <= set(Vocabulary.load(data, "de").symbols)
    assert [pieces_to_text(row[:-1]) for row in rows] == [*GERMAN, *ENGLISH]


def test_several_training_sets_share_the_dictionary(text, teacher):
    write_text(text / "more", ["Hundert Jahre."], ["A hundred years."])
    data = run(
        text, teacher, "--trainpref", f"{text / 'train'},{text / 'more'}", "--testpref", text / "valid"
    )
    assert list(load_manifest(data).splits) == ["train", "train1", "valid", "test"]
    assert pieces_to_text(symbols_of(data, "train1", "de")[0][:-1]) == "Hundert Jahre."


def test_compressed_text_gives_the_same_data(text, teacher):
    plain = contents(run(text, teacher))
    for path in [*text.glob("train.*")]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    shutil.rmtree(text / "data")
    assert contents(run(text, teacher)) == plain


def test_chunks_do_not_show(text, teacher, monkeypatch):
    whole = contents(run(text, teacher))
    shutil.rmtree(text / "data")
    monkeypatch.setattr("cmlm_kd.data.translation.parallel_text._CHUNK", 3)
    assert contents(run(text, teacher)) == whole


def test_shared_spellings_are_counted(text, teacher):
    """``t`` continues a word here and follows an apostrophe there; the entry can be but one of the two."""
    write_text(text / "train", ["xt xt yt"], ["don't"])
    data = run(text, teacher, "--joined-dictionary")
    tokenizer = PieceTokenizer.from_pretrained(str(teacher))
    inside = tokenizer.encode("xt").teacher_ids[-1]
    after = tokenizer.encode("don't").teacher_ids[-1]
    vocabulary = Vocabulary.load(data, "en")
    assert inside != after and vocabulary.teacher_ids[vocabulary.index("t")] == inside
    assert load_manifest(data).splits["train"].merged == {"de": 0, "en": 1}


def test_characters_outside_the_tokenizer_are_counted(text, teacher, capsys):
    write_text(text / "train", [*GERMAN, "☃ ☃", "▁"], [*ENGLISH, "漢", "x▁y"])
    data = run(text, teacher)
    assert load_manifest(data).splits["train"].unknown == {"de": 2, "en": 1}
    assert "unknown de 2 / en 1" in capsys.readouterr().out
    assert "<unk>" not in (data / "dict.de.txt").read_text()
    assert pieces_to_text(symbols_of(data, "train", "en")[-1][:-1]) == "x▁y"


# The teacher's positions


def long_pairs(text, teacher, source_words, target_words, positions=24):
    short = write_config(shutil.copytree(teacher, text / "short"), "bert", positions)
    write_text(
        text / "train", [*GERMAN, " ".join(["a"] * source_words)], [*ENGLISH, " ".join(["b"] * target_words)]
    )
    return short


@pytest.mark.parametrize(("words", "too_long"), [((11, 10), 0), ((11, 11), 1), ((30, 2), 1), ((2, 30), 1)])
def test_a_pair_longer_than_the_teachers_positions_is_kept_and_counted(
    text, teacher, capsys, words, too_long
):
    """24 positions are [CLS], 21 pieces, and two [SEP]."""
    data = run(text, long_pairs(text, teacher, *words))
    report = load_manifest(data).splits["train"]
    assert (report.pairs, report.too_long_for_teacher, report.truncated_sources) == (5, too_long, 0)
    assert len(Databin.open(data / "train.de-en.de")[4]) == words[0] + 1
    printed = capsys.readouterr().out
    assert (
        "1 pairs too long for the teacher (kept; they will be trained on hard labels)" in printed
    ) == too_long


@pytest.mark.parametrize(
    ("words", "length", "counts"), [((30, 4), 17, (1, 0)), ((17, 4), 17, (0, 0)), ((30, 21), 30, (0, 1))]
)
def test_sources_are_cut_to_the_teachers_positions_if_asked(text, teacher, words, length, counts):
    data = run(text, long_pairs(text, teacher, *words), "--truncate-source")
    report = load_manifest(data).splits["train"]
    assert (report.truncated_sources, report.too_long_for_teacher) == counts
    source, target = (Databin.open(data / f"train.de-en.{language}") for language in ("de", "en"))
    assert (len(source[4]), len(target[4])) == (length + 1, words[1] + 1)
    assert (data / "raw" / "train.de").read_text().split("\n")[4].count("a") == words[0]


def test_the_text_is_read_once(text, teacher, monkeypatch):
    """Both to write the data and to find that they are there already."""
    from cmlm_kd.data.translation import parallel_text

    read = []

    def counting(prefix, languages, original=parallel_text.iterate_pairs):
        read.append(Path(prefix).name)
        return original(prefix, languages)

    monkeypatch.setattr(parallel_text, "iterate_pairs", counting)
    for _ in range(2):
        run(text, teacher)
        assert read == ["train", "valid"]
        read.clear()


# Once more


def test_the_same_again_is_kept(text, teacher, capsys):
    data = run(text, teacher)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    first = capsys.readouterr().out
    run(text, teacher)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("more", "difference"),
    [(["--joined-dictionary"], "joined dictionary"), (["--truncate-source"], "truncate source")],
)
def test_other_settings_need_overwrite(text, teacher, capsys, more, difference):
    before = contents(run(text, teacher))
    refuse(
        text,
        teacher,
        f"was prepared with another {difference}; choose another --destdir or pass --over",
        capsys,
        more,
    )
    assert contents(text / "data") == before
    run(text, teacher, "--overwrite", *more)
    assert contents(text / "data") != before


def test_other_text_or_another_teacher_needs_overwrite(text, teacher, capsys, tmp_path):
    run(text, teacher)
    uncased = write_wordpiece(tmp_path / "uncased", training_lines(), lowercase=True)
    refuse(text, uncased, "data was prepared with another tokenizer;", capsys)
    write_text(text / "train", GERMAN[1:], ENGLISH[1:])
    refuse(text, teacher, "data was prepared with another text;", capsys)
    assert load_manifest(run(text, teacher, "--overwrite")).splits["train"].pairs == 3


def test_a_damaged_data_bin_is_not_taken_for_finished(text, teacher, capsys):
    data = run(text, teacher)
    whole = contents(data)
    (data / "train.de-en.en.bin").unlink()
    refuse(
        text, teacher, "is damaged (.*train.de-en.en.bin is missing.*); pass --overwrite to write it ", capsys
    )
    run(text, teacher, "--overwrite")
    assert contents(data) == whole


def test_foreign_files_are_never_replaced(text, teacher, capsys):
    (text / "data").mkdir()
    (text / "data" / "thesis.tex").write_text("years of work")
    for more in ([], ["--overwrite"]):
        refuse(text, teacher, "is not empty and was not written by 'cmlm-kd prepare'; choose", capsys, more)
    (text / "data" / "thesis.tex").unlink()
    run(text, teacher)  # an empty directory is fine
    shutil.rmtree(text / "data")
    (text / "data").write_text("a file")
    refuse(text, teacher, "data is a file; choose another --destdir", capsys)


def test_a_symbolic_link_is_followed(text, teacher):
    (text / "disk").mkdir()
    (text / "data").symlink_to(text / "disk")
    run(text, teacher)
    assert (text / "data").is_symlink() and (text / "disk" / "prepare.json").is_file()


# Interruptions


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing_behind(text, teacher, monkeypatch, capsys, error):
    before = contents(run(text, teacher))
    names = {path.name for path in text.iterdir()}

    def fail(*arguments):
        raise error

    monkeypatch.setattr("cmlm_kd.data.translation.writing.write_flat_databin", fail)
    more = ["--joined-dictionary", "--overwrite"]
    if isinstance(error, OSError):
        message = "/data: No space left on device; make room or choose another place"
        refuse(text, teacher, message, capsys, more)
    else:
        assert main(flags(text, teacher, *more)) == 130
    assert contents(text / "data") == before
    assert {path.name for path in text.iterdir()} == names


def test_what_a_killed_run_left_is_cleared_away(text, teacher):
    script = (
        "import os, signal, sys, cmlm_kd.data.translation.writing as writing\n"
        "from cmlm_kd.cli import main\n"
        "writing.write_flat_databin = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", script, *flags(text, teacher)]
    assert subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == -signal.SIGKILL
    assert not (text / "data").exists() and (text / ".data.partial").is_dir()
    run(text, teacher)
    assert not [path for path in text.iterdir() if path.name.startswith(".")]


def test_a_tokenizer_alone_sets_no_bound_on_lengths(text, teacher, tmp_path):
    """The data are ready before the teacher is; only positions come from a model's configuration."""
    alone = shutil.copytree(teacher, tmp_path / "tokenizer")
    (alone / "config.json").unlink()
    write_text(text / "train", [*GERMAN, "Wie? " * 200], [*ENGLISH, "What? " * 200])
    data, other = run(text, alone), tmp_path / "with-model"
    run(text, teacher, "--destdir", str(other))
    reports = [load_manifest(folder).splits["train"] for folder in (data, other)]
    assert [report.too_long_for_teacher for report in reports] == [0, 1]
    assert symbols_of(data, "train", "de") == symbols_of(other, "train", "de")
    assert (data / "teacher" / "tokenizer.json").is_file() and not (data / "teacher" / "config.json").exists()


# Files of others


def test_overwriting_keeps_what_is_not_its_own(text, teacher):
    data = run(text, teacher)
    theirs = {"checkpoints/checkpoint_best.pt": "weeks", "raw/notes": "mine", "teacher/README": "mine"}
    for name, value in theirs.items():
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(value)
    (data / "dict.fr.txt").write_text("not named\n")
    run(text, teacher, "--overwrite", "--joined-dictionary", "--testpref", text / "valid")
    assert {name: (data / name).read_text() for name in theirs} == theirs
    assert (data / "dict.fr.txt").read_text() == "not named\n"
    kept = set(contents(data))
    run(text, teacher, "--overwrite")
    gone = {str(path) for path in kept - set(contents(data))}
    assert gone == {*(f"test.de-en.{name}" for name in ("de.bin", "de.idx", "en.bin", "en.idx"))} | {
        *("raw/test.de", "raw/test.en")
    }


@pytest.mark.parametrize("name", ["raw/test.de", "test.de-en.de.idx"])
def test_overwriting_never_writes_over_the_files_of_others(text, teacher, capsys, name):
    data = run(text, teacher)
    (data / name).write_text("mine")
    message = f"{name} does not belong to the data-bin there, and would be written over; move it away"
    refuse(text, teacher, message, capsys, ["--overwrite", "--testpref", text / "valid"])
    assert (data / name).read_text() == "mine"


def test_a_split_of_others_that_fairseq_would_read(text, teacher, capsys):
    data = run(text, teacher)
    shutil.copy(data / "train.de-en.de.bin", data / "train1.de-en.de.bin")
    message = (
        "train1.de-en.de.bin does not belong to the data-bin there, and fairseq would read it as part of"
    )
    refuse(text, teacher, message, capsys, ["--overwrite"])


def test_overwriting_that_was_killed_is_finished_by_the_next_reader(text, teacher):
    data = run(text, teacher)
    (data / "notes").write_text("mine")
    script = (
        "import os, signal, sys, cmlm_kd.system.directories as directories\n"
        "from cmlm_kd.cli import main\n"
        "directories._finish = lambda path: "
        "(path / '.partial' / 'commit.json').is_file() and os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(sys.argv[1:])\n"
    )
    more = ["--joined-dictionary", "--overwrite", "--validpref", text / "valid"]
    command = [sys.executable, "-c", script, *flags(text, teacher, *more)]
    assert subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == -signal.SIGKILL
    assert load_manifest(data).joined_dictionary and not (data / ".partial").exists()
    run(text, teacher, "--joined-dictionary")  # whole, and kept
    assert (data / "notes").read_text() == "mine"


def test_a_data_bin_that_an_earlier_release_moved_away_is_found(text, teacher):
    data = run(text, teacher)
    before = contents(data)
    data.rename(text / ".data.former")
    assert run(text, teacher) == data and contents(data) == before and not (text / ".data.former").exists()


@pytest.mark.parametrize("language", ["../de", "/tmp/de", "a/b", ""])
def test_languages_are_names(text, teacher, capsys, language):
    message = f"--source-lang {language!r}: a file gets this name, and it must not be a path; leave out '/'"
    refuse(text, teacher, message, capsys, ["-s", language])
