"""Soft targets beside students' beliefs: probabilities worked out by hand, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import (
    SYMBOLS,
    VOCABULARY,
    K,
    has_teacher_row,
    soft_targets_of,
    write_split,
    write_store,
)

from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.page import beliefs
from cmlm_kd.evaluation.page.beliefs import AT_MOST, ShownStore
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.tokenization.spelling import SPECIALS

ROWS = 30
ENTRIES = [*SPECIALS, *(f"w{number}" for number in range(SYMBOLS))]


class Student(NextTokenTeacher):
    """Gives entry e of a sentence whose first token is t the logit ((e * 7 + t) % 11) / 2."""

    kind = "made up"
    hash = "0"

    def __init__(self, name, longest=99):
        self._name, self.longest = name, longest

    @property
    def name(self):
        return self._name

    def readable(self, pairs):
        return pairs.lengths[1] <= self.longest

    def next_tokens(self, pairs):
        rows = [logits_of(target) for target in pairs.targets]
        return NextTokens(torch.from_numpy(np.concatenate(rows)).float())


def logits_of(target):
    """Return ``(L, V)``."""
    entries = np.arange(VOCABULARY)
    return np.tile((entries * 7 + int(target[0])) % 11 / 2, (len(target), 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beliefs")
    data = write_split(folder / "data", "train", ROWS, seed=3)
    write_split(data, "valid", 9, seed=4)
    write_store(folder / "store", data)
    write_store(folder / "warm", data, temperatures=(2.0, 10.0))
    return folder


@pytest.fixture(autouse=True)
def students(monkeypatch):
    """Checkpoints of which ``short`` reads five tokens at most, and ``other`` has another dictionary."""

    def load(texts, data, options):
        (text,) = texts
        if "other" in text:
            raise UserError(f"teacher {text} has dictionary 1234 for en, that of the data is 5678")
        return Student(text, 5 if "short" in text else 99)

    monkeypatch.setattr(beliefs, "load_teachers", load)


def ask(place, students=("a",), store="store", most=50):
    shown = ShownStore.open(place / store, place / "data", "train")
    return shown.beliefs({name: Path(name) for name in students}, most)


def targets(place):
    return Databin.open(place / "data" / "train.de-en.en")


@pytest.mark.parametrize(("store", "temperature"), [("store", 1.0), ("warm", 2.0)])
def test_probabilities(place, store, temperature):
    said = ask(place, ("a", "b"), store)
    assert said.temperature == temperature and list(said.speakers) == ["a", "b"] and said.teacher == "C-MLM"
    target = targets(place)
    assert [each.number - 1 for each in said.sentences] == [
        row for row in range(ROWS) if has_teacher_row(target[row])
    ]
    for sentence in said.sentences:
        gold = target[sentence.number - 1]
        ids, logits, tail = soft_targets_of(gold, temperatures=(temperature, 10.0))
        weights = np.exp(np.column_stack([logits.astype(float) / temperature, tail[:, 0].astype(float)]))
        teacher = weights / weights.sum(1, keepdims=True)
        own = np.exp(logits_of(gold) / temperature)
        own /= own.sum(1, keepdims=True)
        assert len(sentence.tokens) == len(gold)
        for place_, token in enumerate(sentence.tokens):
            known = dict(zip(ids[place_].tolist(), teacher[place_], strict=False))
            for entry in token.entries:
                number = ENTRIES.index(entry.symbol)
                expected = [known.get(number), own[place_, number], own[place_, number]]
                assert [value is None for value in entry.beliefs] == [value is None for value in expected]
                assert np.allclose(
                    [value or 0 for value in entry.beliefs], [value or 0 for value in expected], atol=1e-4
                )
                assert entry.gold == (number == gold[place_])
            for speaker, rest in enumerate(token.rest):
                total = sum(entry.beliefs[speaker] or 0 for entry in token.entries)
                assert total + rest == pytest.approx(1, abs=1e-3)


def test_entries_are_the_most_likely_ones_and_the_gold_one(place):
    for sentence in ask(place).sentences:
        for token in sentence.tokens:
            most = [max(value or 0 for value in entry.beliefs) for entry in token.entries]
            assert most == sorted(most, reverse=True) and len(most) <= AT_MOST
            assert [entry.symbol for entry in token.entries if entry.gold] == [token.symbol]
            assert len(most) > K  # some of the student's own


def test_text_is_joined_and_the_end_is_a_token(place):
    sentence = ask(place).sentences[0]
    words = [f"w{entry - 4}" for entry in targets(place)[sentence.number - 1][:-1]]
    assert sentence.target == "".join(words) and sentence.tokens[-1].symbol == "</s>"
    assert all(0 <= int(word[1:]) < SYMBOLS for word in words)


def test_as_many_sentences_as_asked_for_that_all_can_read(place):
    assert len(ask(place, most=4).sentences) == 4
    said = ask(place, ("a", "short"), most=4)
    assert 0 < len(said.sentences) <= 4 and all(len(each.tokens) <= 5 for each in said.sentences)
    assert not said.notes


def test_students_that_cannot_be_asked_are_named(place):
    said = ask(place, ("a", "other", "b"))
    assert list(said.speakers) == ["a", "b"]
    assert said.notes == [
        "other is not shown: teacher other has dictionary 1234 for en, that of the data is 5678."
    ]
    with pytest.raises(UserError, match="teacher other has dictionary 1234"):
        ask(place, ("other",))


def test_a_store_without_a_row_that_is_short_enough(place, monkeypatch):
    monkeypatch.setattr(Student, "readable", lambda self, pairs: pairs.lengths[1] < 0)
    said = ask(place)
    assert not said.sentences
    assert said.notes == ["No sentence of train has soft targets and is short enough for all students."]


@pytest.mark.parametrize(
    ("store", "data", "split", "languages", "message"),
    [
        ("none", "data", "train", (None, None), "none holds no store"),
        ("store", "none", "train", (None, None), "has no language pairs for split train"),
        ("store", "data", "test", (None, None), "has no language pairs for split test"),
        ("store", "data", "valid", (None, None), "was dumped for a corpus of sentences: 30, the data has 9"),
        ("store", "data", "train", ("de", "fr"), "has no train split of de-fr"),
        ("damaged", "data", "train", (None, None), "damaged"),
    ],
)
def test_what_does_not_belong_together(place, tmp_path, store, data, split, languages, message):
    if store == "damaged":
        folder = write_store(tmp_path / "damaged", place / "data")
        shard = next(folder.glob("*.arrow"))
        raw = bytearray(shard.read_bytes())
        raw[len(raw) // 2] ^= 1
        shard.write_bytes(raw)
        path = folder
    else:
        path = place / store
    with pytest.raises(UserError, match=message):
        ShownStore.open(path, place / data, split, languages)
