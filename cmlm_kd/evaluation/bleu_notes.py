"""Notes on BLEU for texts that it does not measure: lines too short for 4-grams, scripts without spaces."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sacrebleu.metrics.bleu import BLEU

_SPACED = ("13a", "intl", "none")
"""sacreBLEU's tokenizers that cut at spaces."""

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
"""Letters between two spaces, on average, from which on a text of such a script is not cut into words."""


def notes_on_bleu(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]], tokenize: str
) -> tuple[str, ...]:
    """Return what to know of BLEU before its numbers for these texts are believed.

    Args:
        systems: name -> its lines.
        references: one or more translations of each line.
        tokenize: sacreBLEU's tokenizer for BLEU.
    """
    notes = []
    script = script_without_spaces(line for stream in references for line in stream)
    if script is not None and tokenize in _SPACED:
        notes.append(
            f"the references are written without spaces between words ({name_of_script(script)}), of which "
            f"--tokenize {tokenize} takes whole clauses for words; pass --tokenize {_REMEDIES[script]}"
        )
    cut = BLEU(tokenize=tokenize, force=True).tokenizer
    for name, lines in systems.items():
        if all(len(cut(line).split()) < _LONGEST_N_GRAM for line in lines):
            notes.append(
                f"no line of {name!r} has {_LONGEST_N_GRAM} tokens, so BLEU, a mean over 1- to "
                f"{_LONGEST_N_GRAM}-grams, is 0 or says nothing; look at chrF"
            )
    return tuple(notes)


def script_without_spaces(lines: Iterable[str]) -> str | None:
    """Return the script of most letters that belong to one without spaces.

    None stands for few of them, and for a text that is cut into words or characters already.
    """
    scripts: Counter[str] = Counter()
    letters, words = 0, 0
    for line in lines:
        words += len(line.split())
        for character in filter(str.isalpha, line):
            letters += 1
            script = unicodedata.name(character, "").partition(" ")[0]
            if script in _REMEDIES:
                scripts[script] += 1
    if letters <= _OF_A_WORD * words or sum(scripts.values()) < _ENOUGH * letters:
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
