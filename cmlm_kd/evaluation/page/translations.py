"""Translations side by side, with what sets them apart from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import regex
from sacrebleu.metrics.chrf import CHRF

SAME, OTHER, MISSING = "same", "other", "missing"

_PARTS = regex.compile(r"\p{Han}|\p{Hiragana}|\p{Katakana}|[\p{L}\p{M}\p{N}_]+|\s+|.", regex.DOTALL)
"""A word, a sign of a script that puts no spaces between words, white space, or a punctuation mark."""


@dataclass(frozen=True)
class Span:
    """A part of a translation.

    Attributes:
        text: of it; of a missing part, what the reference has.
        kind: :data:`SAME` as the reference, :data:`OTHER`, or :data:`MISSING` here.
    """

    text: str
    kind: str


@dataclass(frozen=True)
class Translation:
    """What one run made of a sentence.

    Attributes:
        run: name of the run.
        spans: the text, and what of the nearest reference it lacks.
        chrf: of this sentence, 0 to 100.
    """

    run: str
    spans: Sequence[Span]
    chrf: float


@dataclass(frozen=True)
class Example:
    """A sentence of the test set.

    Attributes:
        number: its line, from 1.
        source: text; None where it is not known.
        references: one or more.
        translations: in the order of the runs.
    """

    number: int
    source: str | None
    references: Sequence[str]
    translations: Sequence[Translation]


def evenly_spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers below ``count``, the first and the last, equally far apart."""
    return sorted({round(value) for value in np.linspace(0, count - 1, min(most, count))}) if count else []


def examples(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    sources: Sequence[str | None] | None,
    most: int,
    *,
    lowercase: bool = False,
) -> list[Example]:
    """Return sentences spread evenly over the test set.

    Args:
        systems: run -> its lines.
        references: ``references[r][i]`` belongs to line ``i``; an empty line means that this one lacks it.
        sources: text of each line, if known.
        most: sentences to return, at least 1.
        lowercase: take words that differ in case alone for the same.
    """
    metric = CHRF(lowercase=lowercase)
    found = []
    for row in evenly_spread(len(references[0]), most):
        known = [stream[row] for stream in references if stream[row].strip()]
        translations = [
            Translation(
                run, differences(lines[row], known, lowercase=lowercase), _chrf(metric, lines[row], known)
            )
            for run, lines in systems.items()
        ]
        found.append(Example(row + 1, sources[row] if sources else None, known, translations))
    return found


def differences(text: str, references: Sequence[str], *, lowercase: bool = False) -> list[Span]:
    """Return a text in spans that are like the nearest reference or not.

    Args:
        text: a translation.
        references: one or more; the nearest is the one that shares most with it.
        lowercase: ignore case.
    """
    words = _PARTS.findall(text)
    matchers = [
        SequenceMatcher(
            None, _folded(_PARTS.findall(reference), lowercase), _folded(words, lowercase), autojunk=False
        )
        for reference in references
    ]
    number = max(range(len(matchers)), key=lambda each: matchers[each].ratio())
    wanted = _PARTS.findall(references[number])
    spans = []
    for operation, start, end, own_start, own_end in matchers[number].get_opcodes():
        if operation == "equal":
            spans.append(Span("".join(words[own_start:own_end]), SAME))
            continue
        missing, other = "".join(wanted[start:end]), "".join(words[own_start:own_end])
        spans += [Span(part, kind) for part, kind in ((missing, MISSING), (other, OTHER)) if part]
    return spans


def _folded(words: Sequence[str], lowercase: bool) -> list[str]:
    return [word.lower() if lowercase else word for word in words]


def _chrf(metric: CHRF, text: str, references: Sequence[str]) -> float:
    return round(float(metric.sentence_score(text, list(references)).score), 1)
