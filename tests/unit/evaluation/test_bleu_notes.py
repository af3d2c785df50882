"""What is said of metrics where they do not measure a text."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.bleu_notes import script_without_spaces
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate

CHINESE = ["我喜欢吃苹果和香蕉", "今天天气很好我们去公园"]
JAPANESE = ["私は東京に住んでいます", "昨日は映画を見ました"]
THAI = ["ฉันชอบกินข้าว", "วันนี้อากาศดีมาก"]
RUSSIAN = ["Собака спит в саду", "Мы видели знак 7"]
ENGLISH = ["the dog sleeps in the garden", "we saw 我 on a sign"]


def notes(systems, references, **settings):
    return evaluate(systems, [references], ScoreSettings(**settings)).notes


@pytest.mark.parametrize(
    ("lines", "script"),
    [
        (CHINESE, "CJK"),
        (JAPANESE, "HIRAGANA"),
        (THAI, "THAI"),
        (["བོད་སྐད་ཀྱི་ཡི་གེ"], "TIBETAN"),
        (ENGLISH, None),
        ([" ".join(line) for line in CHINESE], None),  # cut into words already
        (["你好", "再见"], "CJK"),  # no line has room for a space
        (["1 2 3"], None),
        ([], None),
    ],
)
def test_the_script_is_that_of_most_letters(lines, script):
    assert script_without_spaces(lines) == script


@pytest.mark.parametrize(("lines", "remedy"), [(CHINESE, "zh"), (JAPANESE, "ja-mecab"), (THAI, "flores200")])
def test_a_script_without_spaces_needs_its_tokenizer(lines, remedy):
    assert f"--tokenize {remedy}" in notes({"a": lines}, lines, metrics=("bleu",))[0]
    assert notes({"a": lines}, lines, metrics=("bleu",), tokenize="char") == ()


def test_a_tokenizer_of_another_script_does_not_help():
    assert "pass --tokenize flores200" in notes({"a": THAI}, THAI, metrics=("bleu",), tokenize="zh")[0]
    assert notes({"a": CHINESE}, CHINESE, metrics=("bleu",), tokenize="zh") == ()


@pytest.mark.parametrize(("metrics", "order", "said"), [(("ter",), 0, "TER: "), (("chrf",), 2, "chrF2++: ")])
def test_words_of_a_script_without_spaces(metrics, order, said):
    settings = {"metrics": metrics, "chrf_word_order": order}
    (note,) = notes({"a": THAI}, THAI, **settings)
    assert note.startswith(said) and "Thai has not" in note
    assert notes({"a": ENGLISH}, ENGLISH, **settings) == ()


@pytest.mark.parametrize(
    ("lines", "seen"), [(RUSSIAN, False), (CHINESE, False), (ENGLISH, True), (["1"], True)]
)
def test_rouge_sees_the_letters_of_english(lines, seen):
    found = notes({"a": lines}, lines, metrics=("rouge",))
    assert found == () if seen else found[0].startswith("ROUGE sees the letters a to z")


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
