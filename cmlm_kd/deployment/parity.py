"""The check that ends an export: does the exported model translate as the checkpoint does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cmlm_kd.api.translator import Decoding, Hypothesis, Translator
from cmlm_kd.data.translating.engine import translate_texts
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate
from cmlm_kd.system.text import read_lines

MOST_SENTENCES = 200
"""Sentences that are compared, where a file has more."""

LARGEST_DIFFERENCE = 1e-3
"""Of the log-probability per token of equal translations, in float32."""

LEAST_EQUAL = 0.99
"""Share of equal answers of what computes the same in float32."""

LEAST_EQUAL_INEXACT = 0.5
"""The same of int8, and of a shortlist."""


@dataclass(frozen=True)
class Sentences:
    """What is translated for the comparison.

    Attributes:
        name: where it is from, without folders, and which of its sentences if not all.
        sources: sentences.
        references: their translations by others, None where there are none.
    """

    name: str
    sources: list[str]
    references: list[str] | None


@dataclass(frozen=True)
class Parity:
    """How two models compare on the same sentences.

    Attributes:
        sentences: how many.
        source: where they are from.
        equal: equal translations, the most probable token taken at each step: no search can hide or make a
            difference.
        beam: of the search below.
        equal_by_search: equal translations by beam search.
        largest_difference: of the log-probability per token (natural logarithm) of equal translations that
            were not cut off; 0 where there are none.
        other_tokens: sentences that the exported tokenizer cuts in another way: those with a token of the
            teacher's that the student's dictionary lacks.
        equal_of_same_tokens: as ``equal``, without those sentences.
        bleu_before, bleu_after: of the checkpoint and of the exported model by beam search, where there are
            references.
        bleu_signature: sacreBLEU's.
        bleu_p_value: of the difference, by sacreBLEU's paired bootstrap; None for a single line.
    """

    sentences: int
    source: str
    equal: int
    beam: int
    equal_by_search: int
    largest_difference: float
    other_tokens: int = 0
    equal_of_same_tokens: int = 0
    bleu_before: float | None = None
    bleu_after: float | None = None
    bleu_signature: str | None = None
    bleu_p_value: float | None = None

    def lines(self) -> list[str]:
        """Return what to print of it."""
        n = self.sentences
        said = [
            f"  translations equal: {self.equal} of {n} (greedy), {self.equal_by_search} of {n} (beam "
            f"{self.beam}), on {self.source}",
            f"  largest difference of log-probability per token: {self.largest_difference:.1e}",
        ]
        if self.other_tokens:
            said.append(
                f"  {self.other_tokens} of {n} have tokens that the student's dictionary lacks, and are cut "
                f"in another way; of the others {self.equal_of_same_tokens} of {n - self.other_tokens} are "
                "equal"
            )
        if self.bleu_before is not None and self.bleu_after is not None:
            tested = "" if self.bleu_p_value is None else f", p = {self.bleu_p_value:.3f}"
            said.append(
                f"  BLEU {self.bleu_before:.2f} before, {self.bleu_after:.2f} after{tested} "
                f"({self.bleu_signature})"
            )
        return said


def parity_sentences(
    data: Path, languages: tuple[str, str], sentences: Path | None, references: Path | None
) -> Sentences:
    """Return the sentences to compare with: those that a user names, or the data-bin's own text.

    Args:
        data: the data-bin; its ``raw/test.SRC`` or else ``raw/valid.SRC`` is read.
        languages: source and target.
        sentences: a file of sentences, one a line.
        references: their translations.

    Raises:
        UserError: there are none, or another number of references.
    """
    if sentences is None:
        if references is not None:
            raise UserError("--references are the translations of --sentences, which is not given; add it")
        split = next(
            (name for name in ("test", "valid") if (data / f"raw/{name}.{languages[0]}").is_file()), None
        )
        if split is None:
            raise UserError(
                f"{data} has no raw text to compare the exported model with; give some with --sentences FILE"
            )
        sentences, references = (data / f"raw/{split}.{language}" for language in languages)
    sources = read_lines(sentences)
    targets = read_lines(references) if references is not None and references.is_file() else None
    if targets is not None and len(targets) != len(sources):
        raise UserError(
            f"--references {references} has {len(targets):,} lines, {sentences} {len(sources):,}; give the "
            "translation of each line"
        )
    rows = [row for row, line in enumerate(sources) if line.strip()]
    name = sentences.name
    if len(rows) > MOST_SENTENCES:
        name = f"{name}, the first {MOST_SENTENCES} of {len(rows):,} sentences"
    rows = rows[:MOST_SENTENCES]
    if not rows:
        raise UserError(f"{sentences} has no sentence; give a file with at least one line of text")
    chosen = None if targets is None else [targets[row] for row in rows]
    return Sentences(name, [sources[row] for row in rows], chosen)


def compare_translators(
    original: Translator,
    exported: Translator,
    sentences: Sentences,
    beam: int,
    most_tokens: int,
    same_tokens: Sequence[bool] | None = None,
) -> Parity:
    """Translate sentences with both models, greedily and by search.

    Args:
        original: the checkpoint.
        exported: what was made of it.
        sentences: to translate; those that either model cannot read count as equal where neither can.
        beam: of the search, at least 1.
        most_tokens: the longest translation, at least 1.
        same_tokens: of each sentence, whether both read the same tokens; None: of all.
    """
    # Both are cut off at one length: at the last position runtimes differ by a token or two.
    greedy = Decoding(beam=1, max_length=most_tokens)
    pair = [translate_texts(model, sentences.sources, greedy) for model in (original, exported)]
    equal = [_text(a) == _text(b) for a, b in zip(*pair, strict=True)]
    rows = zip(*pair, equal, strict=True)
    # Of a translation that was cut off some runtimes count the end that it did not have.
    differences = [
        abs(a[0].score - b[0].score)
        for a, b, same in rows
        if same and a and b and a[0].finished and b[0].finished
    ]
    search = replace(greedy, beam=beam)
    found = [translate_texts(model, sentences.sources, search) for model in (original, exported)]
    texts = [[_text(row) for row in rows] for rows in found]
    same = list(same_tokens or [True] * len(equal))
    return Parity(
        len(equal),
        sentences.name,
        sum(equal),
        beam,
        sum(a == b for a, b in zip(*texts, strict=True)),
        max(differences, default=0.0),
        same.count(False),
        sum(e for e, s in zip(equal, same, strict=True) if s),
        *_bleu(texts[0], texts[1], sentences.references),
    )


def check_parity(parity: Parity, exact: bool, least_equal: float | None, place: str) -> None:
    """Refuse an export that translates otherwise than its checkpoint; see :func:`check_share`."""
    compared = parity.sentences - parity.other_tokens
    check_share(
        "translations",
        (parity.equal_of_same_tokens, compared),
        parity.largest_difference,
        exact,
        least_equal,
        place,
    )


def check_share(
    what: str,
    equal: tuple[int, int],
    difference: float,
    exact: bool,
    least_equal: float | None,
    place: str,
) -> None:
    """Refuse an export that answers otherwise than its checkpoint.

    Args:
        what: the answers, for the message.
        equal: how many are equal, and how many there are.
        difference: the largest of their logits, or log-probabilities per token.
        exact: whether it computes the same: in float32, and without a shortlist.
        least_equal: share that must be equal; None: :data:`LEAST_EQUAL`, or :data:`LEAST_EQUAL_INEXACT`.
        place: what was exported, for the message.

    Raises:
        UserError: naming the figure, and what it must be.
    """
    count, compared = equal
    usual = LEAST_EQUAL if exact else LEAST_EQUAL_INEXACT
    least = usual if least_equal is None else least_equal
    if count < least * compared:
        raise UserError(
            f"{place}: {count} of {compared} {what} are equal to the checkpoint's, at least {least:.0%} must "
            "be; nothing was written; give --least-equal where fewer are enough"
        )
    if exact and difference > LARGEST_DIFFERENCE:
        raise UserError(
            f"{place}: {what} are given numbers that differ from the checkpoint's by up to {difference:.1e}, "
            f"at most {LARGEST_DIFFERENCE:.0e} is rounding; nothing was written; export to another target"
        )


def _text(row: Sequence[Hypothesis]) -> str:
    return row[0].text if row else ""


def _bleu(
    before: Sequence[str], after: Sequence[str], references: Sequence[str] | None
) -> tuple[float | None, float | None, str | None, float | None]:
    """Return BLEU of both systems, its signature, and the p-value of the difference."""
    rows = [row for row, line in enumerate(references or ()) if line.strip()]
    if references is None or not rows:
        return None, None, None, None
    systems = {name: [lines[row] for row in rows] for name, lines in (("before", before), ("after", after))}
    wanted = [[references[row] for row in rows]]
    found = evaluate(systems, wanted, ScoreSettings(metrics=("bleu",)), baseline="before")
    scores = [found.systems[name]["BLEU"] for name in systems]
    return (
        round(scores[0].value, 2),
        round(scores[1].value, 2),
        found.signatures["BLEU"],
        scores[1].p_value,
    )
