"""The choice among hypotheses, against values worked out by hand or by sacreBLEU itself."""

import pytest
import sacrebleu

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.data.translating.pick import Row, pick, sentence_metric, utilities

SOURCE = "ein hund sieht den mann"
TEXTS = ["a dog sees a man", "the dog sees the man", "the cat sees the man", "dog man"]


def row(texts=TEXTS, reference=None):
    return Row(SOURCE, reference, [Hypothesis(text, -float(rank)) for rank, text in enumerate(texts)])


def chosen(way, *arguments):
    return [entry.text for entry in pick(way, row(*arguments))]


def test_first_and_all():
    assert chosen("first") == TEXTS[:1]
    assert chosen("all") == TEXTS
    assert chosen("first", []) == chosen("mbr-chrf", []) == []


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_the_one_nearest_to_the_reference(metric):
    assert chosen(metric, TEXTS, "the cat sees the man") == [TEXTS[2]]
    assert chosen(metric, TEXTS, "a dog sees the man")[0] in TEXTS[:2]


def test_metrics_are_sacrebleus():
    text, reference = TEXTS[0], TEXTS[1]
    bleu = sacrebleu.sentence_bleu(text, [reference], use_effective_order=True).score
    assert sentence_metric("bleu")(text, reference) == pytest.approx(bleu)
    assert sentence_metric("chrf")(text, reference) == pytest.approx(
        sacrebleu.sentence_chrf(text, [reference]).score
    )
    assert sentence_metric("bleu")(reference, reference) == pytest.approx(100)
    assert sentence_metric("bleu")("dog man", "dog man") == pytest.approx(100)  # shorter than four words


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_minimum_bayes_risk_is_the_mean_over_all_samples(metric):
    of = sentence_metric(metric)
    texts = [TEXTS[0], TEXTS[1], TEXTS[1]]
    values = utilities(f"mbr-{metric}", row(texts))
    near = of(TEXTS[1], TEXTS[0])
    assert values[0] == pytest.approx((100 + 2 * of(TEXTS[0], TEXTS[1])) / 3)
    assert values[1] == values[2] == pytest.approx((near + 200) / 3)
    assert pick(f"mbr-{metric}", row(texts))[0] is not None
    assert chosen(f"mbr-{metric}", texts) == [TEXTS[1]]


def test_a_tie_goes_to_the_model():
    same = Row(SOURCE, "x", [Hypothesis("a", -1.0), Hypothesis("b", -2.0)])
    assert pick("bleu", same)[0].text == "a"


def test_the_highest_number_of_a_scorer():
    rated = row()._replace(hypotheses=[Hypothesis("a", 0.1), Hypothesis("b", 0.7), Hypothesis("c", 0.7)])
    assert pick("scorer", rated)[0].text == "b"
