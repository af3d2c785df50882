import dataclasses
import json
import random
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import (
    CorpusSizes,
    build_corpus,
    frames_of_split,
    read_corpus_manifest,
    write_numbers_corpus,
)
from cmlm_kd.data.numbers.build import _Turns, fill, normalised
from cmlm_kd.data.numbers.frames import SLOT, Frame
from cmlm_kd.data.numbers.slots import SLOTS
from cmlm_kd.data.numbers.times import spoken_clock
from cmlm_kd.data.numbers.values import Draw, figures, ordinal_words, spelled
from cmlm_kd.errors import UserError

SIZES = CorpusSizes(pairs=300, valid=60, test=200, monolingual=2000)
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def corpus():
    return build_corpus(seed=5, sizes=SIZES)


def sentences(line):
    """Split a line of monolingual text; no sentence of the corpus has a full stop or question mark inside."""
    return re.findall(r"\S.*?[.?](?= [A-Z0-9$€£¥₩₪]|$)", line)


def all_frames(split):
    return [frame for group in frames_of_split(split) for frame in group]


def test_equal_seeds_give_identical_files_and_other_seeds_others(tmp_path):
    write_numbers_corpus(tmp_path / "a", 5, SIZES)
    write_numbers_corpus(tmp_path / "b", 5, SIZES)
    write_numbers_corpus(tmp_path / "c", 6, SIZES)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
        assert file.read_bytes() != (tmp_path / "c" / file.name).read_bytes()


def test_there_are_at_least_80_frames_and_no_split_shares_one():
    for side in ("german", "english"):
        patterns = {split: {getattr(frame, side) for frame in all_frames(split)} for split in SPLITS}
        assert len(set().union(*patterns.values())) >= 80
        assert patterns["train"].isdisjoint(patterns["valid"] | patterns["test"])
        assert patterns["valid"].isdisjoint(patterns["test"])
    monolingual = {frame.english for frame in all_frames("monolingual")}
    for split in ("valid", "test"):
        assert monolingual.isdisjoint(frame.english for frame in all_frames(split))


def words_of(texts):
    return {word.strip(".,?").casefold() for text in texts for word in SLOT.sub("", text).split()} - {""}


def test_150_clauses_and_more_are_held_out_for_valid_and_for_test_each():
    clauses = {split: [group[0].clause for group in frames_of_split(split)] for split in SPLITS}
    assert len(clauses["valid"]) >= 150
    assert len(clauses["test"]) >= 150
    assert len(clauses["train"]) >= 250
    everything = [clause for split in SPLITS for clause in clauses[split]]
    assert len(everything) == len(set(everything))  # a clause's English is its id


def test_every_word_of_a_held_out_clause_is_in_two_training_clauses():
    for side in ("german", "english"):
        uses = Counter(
            word
            for group in frames_of_split("train")
            for word in words_of([getattr(group[0], side)])  # the clause without an opening
        )
        for split in ("valid", "test"):
            held_out = words_of(getattr(group[0], side) for group in frames_of_split(split))
            assert all(uses[word] >= 2 for word in held_out), split


def test_clauses_that_differ_in_their_slots_alone_are_in_one_split():
    splits = {}
    for split in SPLITS:
        for frame, *_ in frames_of_split(split):
            words = [tuple(sorted(words_of([text]))) for text in (frame.german, frame.english)]
            splits.setdefault(tuple(words), set()).add(split)
    assert all(len(where) == 1 for where in splits.values())


def test_held_out_clauses_come_equally_often_and_in_different_frames():
    corpus = build_corpus(seed=5, sizes=CorpusSizes(pairs=3000, valid=500, test=500, monolingual=1))
    for split in ("valid", "test"):
        assert set(Counter(corpus.clauses[split]).values()) == {3, 4}
    assert set(corpus.clauses["train"]) == {group[0].clause for group in frames_of_split("train")}
    for side in ("german", "english"):
        read = words_of(getattr(pair, side) for pair in corpus.parallel["train"])
        for split in ("valid", "test"):
            assert words_of(getattr(frame, side) for frame in all_frames(split)) <= read


def test_a_clause_has_all_its_frames_before_one_comes_again():
    group = [Frame(f"{{label}} {word}.", f"{{label}} {word}.", "id") for word in ("a", "b", "c")]
    turns = _Turns([group], Draw(random.Random(3)))
    frames = [turns.draw_pair()[0][0] for _ in range(9)]
    assert [set(frames[start : start + 3]) for start in (0, 3, 6)] == [set(group)] * 3


def test_the_clause_of_each_held_out_line_is_written_beside_it(tmp_path):
    manifest = write_numbers_corpus(tmp_path, 5, SIZES)
    for split, count in (("valid", 60), ("test", 200)):
        ids = (tmp_path / f"{split}.clauses").read_text("utf-8").splitlines()
        assert len(ids) == count
        assert set(ids) <= {group[0].clause for group in frames_of_split(split)}
        assert f"{split}.clauses" in manifest["sha256"]
        english = (tmp_path / f"{split}.en").read_text("utf-8").splitlines()
        for clause, sentence in zip(ids, english, strict=True):
            assert words_of([clause]) <= words_of([sentence])


def test_every_slot_of_a_frame_is_in_both_languages_and_known():
    for split in SPLITS:
        for frame in all_frames(split):
            german, english = (set(SLOT.findall(text)) for text in (frame.german, frame.english))
            assert german == english, frame
            assert {name for name, _ in english} <= set(SLOTS), frame


def test_no_sentence_is_in_two_places_even_after_normalisation(corpus):
    german = [normalised(pair.german) for split in SPLITS for pair in corpus.parallel[split]]
    english = [normalised(pair.english) for split in SPLITS for pair in corpus.parallel[split]]
    english += [normalised(text) for line in corpus.monolingual for text in sentences(line)]
    assert len(german) == len(set(german))
    assert len(english) == len(set(english))


def test_monolingual_text_takes_its_subjects_up_again(corpus):
    pairs = [sentences(line) for line in corpus.monolingual if len(sentences(line)) == 2]
    assert 0.4 < len(pairs) / len(corpus.monolingual) < 0.6
    for first, second in pairs:
        shared = set(first.split()) & set(second.split())
        assert len(shared) >= 0.3 * min(len(first.split()), len(second.split()))


def test_counts_and_lengths_are_as_asked_for(corpus):
    assert {split: len(pairs) for split, pairs in corpus.parallel.items()} == {
        "train": 300,
        "valid": 60,
        "test": 200,
    }
    assert len(corpus.monolingual) == 2000
    for pair in corpus.parallel["train"]:
        for text in pair:
            assert 3 <= len(text.split()) <= 30
            assert text[0].isupper() or text[0].isdigit() or text[0] in "$€£¥₩₪"
            assert text[-1] in ".?" and "{" not in text and "  " not in text
            assert text == " ".join(text.split())  # no break that is not a plain space


@pytest.mark.parametrize(
    ("hour", "minute", "plainly", "german", "english"),
    [
        (3, 0, False, "drei Uhr", "three o'clock"),
        (1, 0, True, "ein Uhr", "one o'clock"),
        (3, 15, False, "Viertel nach drei", "a quarter past three"),
        (3, 20, True, "drei Uhr zwanzig", "three twenty"),
        (3, 25, False, "fünf vor halb vier", "twenty-five past three"),
        (12, 30, False, "halb eins", "half past twelve"),
        (7, 35, False, "fünf nach halb acht", "twenty-five to eight"),
        (12, 45, False, "Viertel vor eins", "a quarter to one"),
        (9, 50, False, "zehn vor zehn", "ten to ten"),
    ],
)
def test_the_clock_is_read_as_people_say_it(hour, minute, plainly, german, english):
    assert spoken_clock(hour, minute, plainly) == (german, english)


def test_numbers_are_said_and_written_in_both_languages():
    assert spelled(43) == ("dreiundvierzig", "forty-three")
    assert spelled(1243) == (
        "eintausendzweihundertdreiundvierzig",
        "one thousand, two hundred and forty-three",
    )
    assert figures(12345) == ("12.345", "12,345")
    assert ordinal_words(7) == ("siebte", "seventh")


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        ("ago", {("vor zwei Tagen", "two days ago"), ("vor sechs Monaten", "six months ago")}),
        ("vehicle_acc", {("den Nachtzug", "the night train"), ("die Fähre", "the ferry")}),
        ("ordinal_n", {("dritten", "third"), ("zwölften", "twelfth")}),
        ("language", {("Französisch", "French")}),
        ("profession_acc", {("den Bauern", "the farmer"), ("die Ärztin", "the doctor")}),
        ("profession_dat", {("dem Bauern", "the farmer"), ("der Ärztin", "the doctor")}),
        ("event_dat", {("dem Konzert", "the concert"), ("der Feier", "the party")}),
        ("relative_acc", {("meinen Bruder", "my brother"), ("meine Mutter", "my mother")}),
        ("relative_dat", {("meinem Bruder", "my brother"), ("meiner Mutter", "my mother")}),
        ("people_dat", {("Kindern", "children"), ("Frauen", "women"), ("Gästen", "guests")}),
        ("percent", {("drei Prozent", "three percent")}),
        ("dry_goods", {("zwei Esslöffel Zucker", "two tablespoons of sugar")}),
        ("price", {("vier Dänische Kronen", "four Danish kroner"), ("drei Euro", "three euros")}),
    ],
)
def test_slots_agree_with_the_words_around_them(slot, expected):
    draw = Draw(random.Random(1))
    assert expected <= {tuple(SLOTS[slot](draw)) for _ in range(20_000)}


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("{vehicle} fährt um {clock} ab.", "{vehicle} leaves at {clock}."),
        (
            "Niemand weiß, dass {vehicle} um {clock} ankommt.",
            "Nobody knows that {vehicle} arrives at {clock}.",
        ),
        ("Am {weekday} öffnet {place} um {clock}.", "On {weekday} {place} opens at {clock}."),
        ("Vielleicht hat {person} {price} gefunden.", "Perhaps {person} found {price}."),
        (
            "Wir wissen, dass {vehicle} bis {weekday} repariert werden muss.",
            "We know that {vehicle} has to be repaired by {weekday}.",
        ),
        ("Weißt du, ob {person} um {clock} aufsteht?", "Do you know if {person} gets up at {clock}?"),
    ],
)
def test_clauses_become_sentences_in_the_word_order_of_german(german, english):
    frames = [(frame.german, frame.english) for split in SPLITS for frame in all_frames(split)]
    assert (german[0].lower() + german[1:], english[0].lower() + english[1:]) in frames


def test_two_slots_of_one_kind_get_different_values():
    frame = Frame("{weekday} {weekday_2} {weekday_3}", "{weekday} {weekday_2} {weekday_3}")
    draw = Draw(random.Random(1))
    for _ in range(200):
        assert len(set(fill(frame, draw).english.split())) == 3


def test_a_finished_corpus_is_recognised_and_a_damaged_or_other_one_is_not(tmp_path):
    manifest = write_numbers_corpus(tmp_path, 5, SIZES)
    assert read_corpus_manifest(tmp_path, 5, SIZES) == manifest
    assert read_corpus_manifest(tmp_path, 6, SIZES) is None
    assert read_corpus_manifest(tmp_path, 5, dataclasses.replace(SIZES, pairs=301)) is None
    with (tmp_path / "train.de").open("a") as file:
        file.write("Noch ein Satz.\n")
    assert read_corpus_manifest(tmp_path, 5, SIZES) is None


def test_a_corpus_of_other_clauses_is_not_taken_for_this_one(tmp_path):
    manifest = write_numbers_corpus(tmp_path, 5, SIZES)
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "frames_sha256": "0" * 64}))
    assert read_corpus_manifest(tmp_path, 5, SIZES) is None
    assert write_numbers_corpus(tmp_path, 5, SIZES) == manifest


def test_files_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "train.de").write_text("Mein Satz.\n")
    with pytest.raises(UserError, match=r"holds train\.de but no manifest\.json"):
        write_numbers_corpus(tmp_path, 5, SIZES)
    (tmp_path / "manifest.json").write_text('{"sha256": {"train.de": "", "train.fr": ""}}')  # another's
    with pytest.raises(UserError, match=r"holds train\.de but no manifest\.json of this command"):
        write_numbers_corpus(tmp_path, 5, SIZES)
    assert (tmp_path / "train.de").read_text() == "Mein Satz.\n"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("call", "count"), [("pathlib.Path.write_bytes", 3), ("os.replace", 2)])
def test_a_killed_run_leaves_nothing_that_the_next_one_stumbles_over(tmp_path, there, call, count):
    folder = tmp_path / "corpus"
    if there:
        folder.mkdir()
        (folder / "notes").write_text("mine")
    script = (
        "import dataclasses, os, pathlib, signal, sys\n"
        "from cmlm_kd.data.numbers import CorpusSizes, write_numbers_corpus\n"
        f"kept, left = {call}, [{count}]\n"
        "def counted(*arguments):\n"
        "    left[0] -= 1\n"
        "    return kept(*arguments) if left[0] else os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{call} = counted\n"
        f"write_numbers_corpus(pathlib.Path(sys.argv[1]), 5, {SIZES!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, folder]).returncode == -signal.SIGKILL
    assert killed or (call == "os.replace" and not there)  # renamed as a whole
    assert write_numbers_corpus(folder, 5, SIZES) == read_corpus_manifest(folder, 5, SIZES)
    assert len(list(folder.iterdir())) == 10 + there and len(list(tmp_path.iterdir())) == 1


def test_a_manifest_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": "cmlm-kd-soft-targets"}')
    with pytest.raises(UserError, match=r"manifest\.json: File exists; choose another place"):
        write_numbers_corpus(tmp_path, 5, SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_asking_for_more_than_the_frames_give_is_an_error(monkeypatch):
    monkeypatch.setattr(
        "cmlm_kd.data.numbers.build.frames_of_split",
        lambda split: [[Frame("Es ist {weekday}.", f"It is {{weekday}}, {split}.")]],
    )
    with pytest.raises(UserError, match="give only 7 different sentences where 8"):
        build_corpus(1, CorpusSizes(pairs=1, valid=1, test=8, monolingual=1))


def test_the_command_writes_once_and_refuses_empty_splits(tmp_path, capsys):
    flags = ["numbers-corpus", str(tmp_path), "--pairs", "20", "--valid", "5", "--test", "5"]
    assert main([*flags, "--monolingual", "50"]) == 0
    assert "written" in capsys.readouterr().out
    assert len((tmp_path / "mono.en").read_text().splitlines()) == 50
    assert main([*flags, "--monolingual", "50"]) == 0
    assert "already there" in capsys.readouterr().out
    assert main([*flags, "--monolingual", "0"]) == 2
    assert "--monolingual is 0, it must be from 1 to 10,000,000" in capsys.readouterr().err
