"""What is said of BLEU where it does not measure a text."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.bleu_notes import notes_on_bleu, script_without_spaces
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate

CHINESE = ["我喜欢吃苹果和香蕉", "今天天气很好我们去公园"]
JAPANESE = ["私は東京に住んでいます", "昨日は映画を見ました"]
THAI = ["ฉันชอบกินข้าว", "วันนี้อากาศดีมาก"]
ENGLISH = ["the dog sleeps in the garden", "we saw 我 on a sign"]


@pytest.mark.parametrize(
    ("lines", "script"),
    [
        (CHINESE, "CJK"),
        (JAPANESE, "HIRAGANA"),
        (THAI, "THAI"),
        (["བོད་སྐད་ཀྱི་ཡི་གེ"], "TIBETAN"),
        (ENGLISH, None),
        ([" ".join(line) for line in CHINESE], None),  # cut into words already
        (["1 2 3"], None),
        ([], None),
    ],
)
def test_the_script_is_that_of_most_letters(lines, script):
    assert script_without_spaces(lines) == script


@pytest.mark.parametrize(("lines", "remedy"), [(CHINESE, "zh"), (JAPANESE, "ja-mecab"), (THAI, "flores200")])
def test_a_script_without_spaces_needs_its_tokenizer(lines, remedy):
    first = notes_on_bleu({"a": lines}, [lines], "13a")[0]
    assert f"--tokenize {remedy}" in first
    assert notes_on_bleu({"a": lines}, [lines], "char") == ()


def test_a_perfect_copy_of_short_lines_is_explained():
    short = ["ein Hund", "zwei Katzen schlafen"]
    evaluation = evaluate({"copy": short, "long": ENGLISH}, [short], ScoreSettings(metrics=("bleu", "chrf")))
    assert evaluation.systems["copy"]["BLEU"].value == 0.0
    assert evaluation.systems["copy"]["chrF2"].value == 100.0
    assert len(evaluation.notes) == 1
    assert "'copy'" in evaluation.notes[0] and "chrF" in evaluation.notes[0]
    assert f"note: {evaluation.notes[0]}\n" in evaluation.to_text()
    assert evaluation.to_document()["notes"] == list(evaluation.notes)


def test_other_metrics_need_no_note():
    assert evaluate({"a": CHINESE}, [CHINESE], ScoreSettings(metrics=("chrf",))).notes == ()


@pytest.mark.parametrize(
    ("tokenize", "error", "said"),
    [
        ("ja-mecab", RuntimeError, "packages are not installed"),
        ("flores200", OSError, "can't be downloaded"),
        ("flores200", RuntimeError, "is damaged"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_named(monkeypatch, tokenize, error, said):
    class Missing(BLEU):
        def __init__(self, **_):
            raise error("not there")

    monkeypatch.setattr("cmlm_kd.evaluation.translation.BLEU", Missing)
    with pytest.raises(UserError, match=f"--tokenize {tokenize}: .*{said}"):
        evaluate({"a": ENGLISH}, [ENGLISH], ScoreSettings(metrics=("bleu",), tokenize=tokenize))
