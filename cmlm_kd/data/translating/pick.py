"""Choice among the hypotheses of a source: ``--pick``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.errors import UserError

FIRST, ALL, SCORER = "first", "all", "scorer"
TO_REFERENCE = {"bleu": "bleu", "chrf": "chrf"}
"""Ways to pick by a metric against the reference -> metric."""

AMONG_THEMSELVES = {"mbr-bleu": "bleu", "mbr-chrf": "chrf"}
"""Ways to pick by minimum Bayes risk -> metric."""

WAYS = (FIRST, ALL, *TO_REFERENCE, *AMONG_THEMSELVES, SCORER)


class Row(NamedTuple):
    """What is known of one source.

    Attributes:
        source: its text.
        reference: a translation by others, or None.
        hypotheses: best first; with an external scorer's number as their score, if there is one.
    """

    source: str
    reference: str | None
    hypotheses: Sequence[Hypothesis]


def check_way(way: str, n_best: int, has_reference: bool, has_scorer: bool) -> None:
    """Refuse a way to pick that lacks what it picks by, before anything is translated.

    Raises:
        UserError: naming what is missing.
    """
    if way not in WAYS:
        raise UserError(f"--pick is {way!r}; allowed are {', '.join(WAYS)}")
    if way in TO_REFERENCE and not has_reference:
        raise UserError(
            f"--pick {way} compares with a reference; name it with --reference, or pick without one by "
            f"mbr-{way}"
        )
    if has_reference and way not in (*TO_REFERENCE, SCORER):
        raise UserError(
            f"--reference is given, and --pick {way} does not look at it; pick by bleu, chrf or scorer, or "
            "leave it out"
        )
    if (way == SCORER) != has_scorer:
        missing = "--scorer is missing" if way == SCORER else "--scorer is given, and --pick is not 'scorer'"
        raise UserError(f"{missing}; the two go together")
    if way not in (FIRST, SCORER) and n_best == 1:
        raise UserError(f"--pick {way} is a choice among several hypotheses; give --n-best, such as 8")


def pick(way: str, row: Row) -> list[Hypothesis]:
    """Return the hypotheses of a source that are chosen: one, none if there are none, or all.

    The one that is nearer to the front wins a tie, so that the model decides where the metric does not.
    """
    if way == ALL or len(row.hypotheses) < 2:
        return list(row.hypotheses)
    if way == FIRST:
        return [row.hypotheses[0]]
    values = utilities(way, row)
    return [row.hypotheses[values.index(max(values))]]


def utilities(way: str, row: Row) -> list[float]:
    """Return what each hypothesis is worth by a way to pick.

    Minimum Bayes risk takes the mean of a metric against all hypotheses as references, its own included,
    which are taken for samples of equal weight (Eikema and Aziz 2020, equation 4).
    """
    texts = [entry.text for entry in row.hypotheses]
    if way == SCORER:
        return [entry.score for entry in row.hypotheses]
    if way in TO_REFERENCE:
        metric = sentence_metric(TO_REFERENCE[way])
        return [metric(text, row.reference or "") for text in texts]
    metric = sentence_metric(AMONG_THEMSELVES[way])
    known: dict[tuple[str, str], float] = {}
    for text in texts:
        for other in texts:
            if (text, other) not in known:
                known[text, other] = metric(text, other)
    return [statistics.fmean(known[text, other] for other in texts) for text in texts]


@cache
def sentence_metric(name: str) -> Callable[[str, str], float]:
    """Return a metric of one hypothesis against one reference, 0 to 100, as sacreBLEU has it.

    Args:
        name: ``bleu`` (n-grams up to the length of the sentence, smoothed by sacreBLEU's default) or
            ``chrf``.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    metric: Any = BLEU(effective_order=True) if name == "bleu" else CHRF()
    return lambda hypothesis, reference: float(metric.sentence_score(hypothesis, [reference]).score)
