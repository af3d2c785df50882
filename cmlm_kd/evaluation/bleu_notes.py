"""Notes on metrics for texts that they do not measure: scripts without spaces, lines too short for BLEU."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

_REMEDIES = {
    "CJK": "zh, or ja-mecab for Japanese",
    "HIRAGANA": "ja-mecab",
    "KATAKANA": "ja-mecab",
    "THAI": "flores200 or char",
    "LAO": "flores200 or char",
    "KHMER": "flores200 or char",
    "MYANMAR": "flores200 or char",
    "TIBETAN": "flores200 or char",
}
"""Script, as names of characters begin -> ``--tokenize`` that cuts it."""

_ENOUGH = 0.3
"""Share of the letters from which on a text is of such a script; names and quotations are less."""

_LONGEST_N_GRAM = 4

_OF_A_WORD = 4
"""Letters for each space, on average, up to which a text of such a script is cut into words. Spaces are
counted, not words: a line of one word, however short, says nothing of how words are parted."""


def notes_on_metrics(
    metrics: Mapping[str, Any],
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    tokenize: str,
) -> tuple[str, ...]:
    """Return what to know of metrics before their numbers for these texts are believed.

    Args:
        metrics: shown name -> sacreBLEU metric.
        systems: name -> its lines.
        references: one or more translations of each line.
        tokenize: sacreBLEU's name of BLEU's tokenizer.
    """
    lines = [line for stream in references for line in stream]
    notes = []
    script = script_without_spaces(lines)
    if script is not None:
        name, remedy = name_of_script(script), _REMEDIES[script]
        if (
            "BLEU" in metrics
            and tokenize not in remedy
            and script_without_spaces(map(metrics["BLEU"].tokenizer, lines)) is not None
        ):
            notes.append(
                f"the references are written without spaces between words ({name}), of which "
                f"--tokenize {tokenize} takes whole clauses for words; pass --tokenize {remedy}"
            )
        of_words = [label for label in metrics if label == "TER" or label.endswith("+")]
        if of_words:
            notes.append(
                f"{' and '.join(of_words)}: words end at spaces here, which {name} has not, so that a clause "
                "with one mistake is all wrong; look at chrF without word n-grams"
            )
    if any(label.startswith("ROUGE") for label in metrics) and not _is_latin(lines):
        notes.append(
            "ROUGE sees the letters a to z and digits alone, and most letters of the references are others, "
            "so that it is near 0 or says nothing; look at chrF"
        )
    if "BLEU" in metrics:
        notes += _notes_on_short_lines(systems, metrics["BLEU"].tokenizer)
    return tuple(notes)


def _notes_on_short_lines(systems: Mapping[str, Sequence[str]], cut: Callable[[str], str]) -> Iterator[str]:
    for name, lines in systems.items():
        if all(len(cut(line).split()) < _LONGEST_N_GRAM for line in lines):
            yield (
                f"no line of {name!r} has {_LONGEST_N_GRAM} tokens, so BLEU, a mean over 1- to "
                f"{_LONGEST_N_GRAM}-grams, is 0 or says nothing; look at chrF"
            )


def _is_latin(lines: Iterable[str]) -> bool:
    """Return whether at least half of the letters are a to z; true of text without letters."""
    letters, latin = 0, 0
    for line in lines:
        letters += sum(map(str.isalpha, line))
        latin += sum(character.isalpha() and character.isascii() for character in line)
    return 2 * latin >= letters


def script_without_spaces(lines: Iterable[str]) -> str | None:
    """Return the script of most letters that belong to one without spaces.

    None stands for few of them, and for a text that is cut into words or characters already.
    """
    scripts: Counter[str] = Counter()
    letters, spaces = 0, 0
    for line in lines:
        spaces += max(0, len(line.split()) - 1)
        for character in filter(str.isalpha, line):
            letters += 1
            script = unicodedata.name(character, "").partition(" ")[0]
            if script in _REMEDIES:
                scripts[script] += 1
    if letters <= _OF_A_WORD * spaces or sum(scripts.values()) < _ENOUGH * letters:
        return None
    # Any share of kana says that the Han characters beside it are Japanese.
    kana = [script for script in ("HIRAGANA", "KATAKANA") if scripts[script] > 0.05 * letters]
    return kana[0] if kana else scripts.most_common(1)[0][0]


def note_on_eval_bleu(references: Iterable[str]) -> str | None:
    """Return what to know of fairseq's ``--eval-bleu`` before it chooses checkpoints; None for nothing.

    Args:
        references: of the validation set, as BLEU is going to read them.
    """
    script = script_without_spaces(references)
    if script is None:
        return None
    return (
        f"--eval-bleu cuts text at spaces, which {name_of_script(script)} has not, so that BLEU is near 0 "
        "whatever is learnt: choose checkpoints by the loss, or leave out --eval-bleu-remove-bpe, for BLEU "
        f"of pieces; 'cmlm-kd score' measures with --tokenize {_REMEDIES[script]}"
    )


def name_of_script(script: str) -> str:
    """Return what people call a script that :func:`script_without_spaces` found."""
    return "Han" if script == "CJK" else script.capitalize()
