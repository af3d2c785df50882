"""Loaded translators: texts of all kinds, and settings that are refused before anything is computed."""

import threading

import pytest
from toy_translator import Toy

from cmlm_kd.deployment.loaded import LoadedTranslator
from cmlm_kd.errors import UserError

SENTENCES = "ein Satz. zwei Sätze. drei kurze Sätze. vier."
"""Of ten words; the toy reads nine."""


def test_a_text_without_anything_to_see_has_an_empty_translation():
    model = LoadedTranslator(Toy("well"))
    assert model.translate(["\u200b", "eins", "", "\x00"]) == ["", "EINS", "", ""]
    (one,) = model.translate_with_scores(["\ufeff"])
    assert (one.text, one.score, one.finished) == ("", 0.0, True)


def test_a_sentence_without_anything_to_see_is_left_out_of_a_text_that_is_split():
    text = "ein Satz. \u200b zwei. a b c d e f"
    assert LoadedTranslator(Toy("well")).translate([text], long_texts="split") == [
        "EIN SATZ. \u200b ZWEI. A B C D E F"
    ]
    text = "ein Satz. zwei. \u200b. a b c d e f"
    assert LoadedTranslator(Toy("well")).translate([text], long_texts="split") == [text.upper()]


def test_texts_may_come_from_an_iterator():
    assert LoadedTranslator(Toy("well")).translate(word for word in ("a", "b")) == ["A", "B"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"long_texts": "cut"}, "long_texts is 'cut'; it must be refuse or split"),
        ({"max_tokens": 0}, "--max-tokens is 0; it must be at least 1"),
        ({"max_tokens": -1}, "--max-tokens is -1; it must be at least 1"),
    ],
)
@pytest.mark.parametrize("texts", [["short"], [], ["a " * 10]])
def test_settings_out_of_their_range_are_refused(settings, message, texts):
    with pytest.raises(UserError, match=message):
        LoadedTranslator(Toy("well")).translate(texts, **settings)


def test_threads_share_a_model():
    model, found = LoadedTranslator(Toy("well")), {}

    def ask(number):
        found[number] = model.translate([f"a{number} b", f"c{number}"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"A{number} B", f"C{number}"] for number in range(8)}


@pytest.mark.parametrize("long_texts", ["refuse", "split"])
@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\ufeff \u200b"])
def test_a_text_that_nobody_sees_is_translated_by_nothing(nothing, long_texts):
    found = LoadedTranslator(Toy("well")).translate_with_scores(["eins", nothing], long_texts=long_texts)
    assert [one.text for one in found] == ["EINS", ""]


def test_a_sentence_that_nobody_sees_is_left_out():
    text = f"{'a ' * 7}b. {'a ' * 7}b. \u200b"
    model = LoadedTranslator(Toy("well"))
    found = model.translate_with_scores([text], long_texts="split")
    assert found[0].text == f"{'A ' * 7}B. {'A ' * 7}B."
    with pytest.raises(UserError, match="text 1 is longer than the 9 tokens"):
        model.translate_with_scores([text])
