"""Each reason to leave a pair out, at its limit and beside it."""

import pytest

from cmlm_kd.data.translating import languages
from cmlm_kd.data.translating.filters import Pair, make_filters
from cmlm_kd.errors import UserError


def dropped_by(settings, source, hypothesis, score=-1.0, finished=True, language="en"):
    """Return the first filter that a pair does not pass."""
    pair = Pair(source, hypothesis, score, finished)
    return next((each.name for each in make_filters(settings, language) if not each.keeps(pair)), None)


@pytest.mark.parametrize(
    ("settings", "pair", "reason"),
    [
        ([], ("ein hund", "a dog"), None),
        ([], ("ein hund", ""), "empty"),
        ([], (" ", "a dog"), "empty"),
        (["length-ratio=2"], ("aaaa bbbb", "abcd"), None),  # 8 to 4 without spaces
        (["length-ratio=2"], ("aaaa bbbbb", "abcd"), "length-ratio"),
        (["length-ratio=2"], ("abcd", "aaaa bbbbb"), "length-ratio"),
        (["length-ratio"], ("a", "abcd"), "length-ratio"),  # 3 by default
        (["copy"], ("Der Hund  schläft", "der hund schläft"), "copy"),
        (["copy"], ("Angela Merkel", "Angela Merkel"), None),  # fewer than three words
        (["copy=2"], ("Angela Merkel", "Angela Merkel"), "copy"),
        (["copy"], ("der hund schläft", "der hund schläft nicht"), None),
        (["repetition"], ("x", "no no yes"), None),
        (["repetition"], ("x", "no no no"), "repetition"),
        (["repetition"], ("x", "well and so on and so on and so on"), "repetition"),
        (["repetition=2.5"], ("x", "no no yes"), None),
        (["repetition=2.5"], ("x", "no no no"), "repetition"),
        (["repetition=4"], ("x", "well and so on and so on and so on"), None),
        (["repetition"], ("nein nein nein", "no no no"), None),  # the source does so too
        (["repetition"], ("x", "a b c d e a b c d e a b c d e"), None),  # five words are no n-gram any more
        (["score=-1"], ("a", "b"), None),
        (["score=-0.9"], ("a", "b"), "score"),
    ],
)
def test_reasons(settings, pair, reason):
    assert dropped_by(settings, *pair) == reason


def test_a_hypothesis_without_an_end_is_left_out():
    assert dropped_by([], "a", "b", finished=False) == "endless"


def test_the_second_of_equal_pairs_is_left_out():
    filters = make_filters(["duplicates"], None)
    duplicates = filters[-1]
    pairs = [Pair(*pair, -1.0, True) for pair in [("a", "b"), ("a", "c"), ("b", "b"), ("a", "b")]]
    assert [duplicates.keeps(pair) for pair in pairs] == [True, True, True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["length"], "--filter names 'length'; allowed are empty, endless, length-ratio, copy"),
        (["copy", "copy"], "--filter names copy twice"),
        (["length-ratio=x"], "--filter length-ratio is 'x'; it must be a number"),
        (["length-ratio=0.5"], "--filter length-ratio is 0.5; it must be at least 1"),
        (["repetition=1"], "--filter repetition is 1.0; it must be at least 2"),
        (["score"], "--filter score needs a value, such as score=-2"),
        (["score=nan"], "--filter score is nan"),
        (["language="], "--filter language has an empty value"),
        (["duplicates=2"], "--filter duplicates has no value; leave '=2' out"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(UserError, match=message):
        make_filters(settings, "en")


def test_languages_are_identified():
    pytest.importorskip("py3langid")
    english, german = "The dog sleeps in the garden of the house.", "Der Hund schläft im Garten des Hauses."
    assert dropped_by(["language"], german, english, language="en_XX") is None
    assert dropped_by(["language"], english, german) == "language"
    assert dropped_by(["language"], german, english, language="eng_Latn") is None


@pytest.mark.parametrize(
    ("target", "settings", "code"),
    [
        ("German", ["language"], "de"),  # as T5 and language models are told
        ("Ancient Greek", ["language"], "grc"),
        ("deu_Latn", ["language"], "de"),
        ("tgl_Latn", ["language"], "tl"),  # which CLDR has under another code
        ("yue_Hant", ["language"], "yue"),
        ("nob_Latn", ["language=no"], "no"),
        (None, ["language=German"], "de"),
        ("the tongue of Goethe", ["language=de"], "de"),
    ],
)
def test_a_language_has_many_names(target, settings, code):
    pytest.importorskip("py3langid")
    assert make_filters(settings, target)[-1].wanted == code


@pytest.mark.parametrize("language", [None, "xx", "nob_Latn", "the tongue of Goethe"])
def test_a_language_that_is_not_known_is_refused(language):
    pytest.importorskip("py3langid")
    with pytest.raises(UserError, match=rf"which language {language!r} is; .* language=CODE .*, de, "):
        make_filters(["language"], language)


def test_the_identifier_may_be_missing(monkeypatch):
    languages._identifier.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    with pytest.raises(
        UserError, match=r"needs the package py3langid; run: pip install 'cmlm-kd\[language\]'"
    ):
        make_filters(["language"], "en")
