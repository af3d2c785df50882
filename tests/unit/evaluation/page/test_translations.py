"""What differs from the reference, in languages with and without spaces; which sentences are shown."""

import pytest

from cmlm_kd.evaluation.page.translations import (
    MISSING,
    OTHER,
    SAME,
    Span,
    differences,
    evenly_spread,
    examples,
)


def shown(text, *references, **options):
    return [(span.text, span.kind) for span in differences(text, references, **options)]


def test_other_and_missing_words():
    assert shown("the cat runs", "the dog runs fast") == [
        ("the ", SAME),
        ("dog", MISSING),
        ("cat", OTHER),
        (" runs", SAME),
        (" fast", MISSING),
    ]


def test_marks_of_punctuation_stand_alone():
    assert shown("At 2:20.", "At 2:30!") == [
        ("At 2:", SAME),
        ("30!", MISSING),
        ("20.", OTHER),
    ]


@pytest.mark.parametrize(
    ("text", "reference", "other"),
    [
        ("我爱猫", "我爱狗", "猫"),  # every sign a word
        ("वह किताब पढ़ता", "वह कलम पढ़ता", "किताब"),  # marks belong to their letters
        ("der Straßenbahn", "der Strasse", "Straßenbahn"),
    ],
)
def test_words_of_other_scripts(text, reference, other):
    assert [span.text for span in differences(text, [reference]) if span.kind == OTHER] == [other]


def test_the_nearest_reference_counts():
    assert shown("a dog barks", "some hound makes noise", "a dog barks") == [("a dog barks", SAME)]


def test_case_counts_unless_scores_ignore_it():
    assert (OTHER in {kind for _, kind in shown("A dog", "a dog")}) is True
    assert shown("A dog", "a dog", lowercase=True) == [("A dog", SAME)]


def test_nothing_and_everything_missing():
    assert shown("", "a dog") == [("a dog", MISSING)]
    assert [span.text for span in differences("a\u2028b\x00", ["a"])] == ["a", "\u2028b\x00"]


@pytest.mark.parametrize(
    ("count", "most", "rows"), [(0, 5, []), (3, 5, [0, 1, 2]), (11, 3, [0, 5, 10]), (9, 1, [0])]
)
def test_sentences_are_spread_evenly(count, most, rows):
    assert evenly_spread(count, most) == rows


def test_examples_have_all_runs_and_the_references_that_there_are():
    references = [["a dog", "a cat", "a cow"], ["", "one cat", ""]]
    found = examples({"x@1": ["a dog", "one cat", ""]}, references, ["Hund", "Katze", "Kuh"], 3)
    assert [(each.number, each.source, list(each.references)) for each in found] == [
        (1, "Hund", ["a dog"]),
        (2, "Katze", ["a cat", "one cat"]),
        (3, "Kuh", ["a cow"]),
    ]
    assert [each.translations[0].chrf for each in found] == [100.0, 100.0, 0.0]
    assert found[2].translations[0].spans == [Span("a cow", MISSING)]
    assert examples({"x": ["a dog"]}, [["a dog"]], None, 1)[0].source is None
