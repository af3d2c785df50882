"""Words: where a sentence is cut for models and methods that work on words instead of pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK_WORDS = frozenset({"[MASK]", "<mask>"})
"""Spellings of a hidden word that stay whole: BERT's and RoBERTa's."""

_WORD = re.compile(
    r"""
      \[MASK\] | <mask>
    | (?:[^\W\d_]\.){2,}                    # U.S., z.B.
    | \d+(?:[.,:/]\d+)+                     # 2.5, 1,000, 10:30
    | \w+?(?=n['’]t\b) | n['’]t\b           # did|n't, as in the Penn Treebank and in GloVe's vocabulary
    | ['’](?:s|m|d|re|ve|ll)\b              # he|'s
    | \w+(?:-\w+|['’](?!(?:s|m|d|re|ve|ll|t)\b)\w+)*   # well-known, o'clock
    | \.{2,} | -{2,} | `{2} | '{2}          # ..., --, quotes of treebanks
    | [^\w\s]
    """,
    re.VERBOSE | re.IGNORECASE,
)


def split_words(text: str) -> list[str]:
    """Cut a text into words and punctuation marks, English clitics apart; drops nothing but white space."""
    return _WORD.findall(text)


def split_with_spacing(text: str) -> tuple[list[str], list[str]]:
    """Cut a text into words, and say what stands before each: a space, or nothing where two touch.

    Returns:
        words and spacing, of equal length; joined in turn they give the text back with every run of white
        space as one space.
    """
    words, spacing = [], []
    end = 0
    for found in _WORD.finditer(text):
        words.append(found.group())
        spacing.append("" if found.start() == end else " ")
        end = found.end()
    return words, spacing


def join_words(words: Sequence[str], spacing: Sequence[str], former: Sequence[str]) -> str:
    """Return words as text, with a space where a new word would grow together with one it touches: "and/or"
    with another word for the stroke is no "andwhichor".

    Args:
        words: some of them new.
        spacing: what stood before each of the former words, see :func:`split_with_spacing`.
        former: the words that stood there.
    """
    parts: list[str] = []
    touching: list[str] = []  # words since the last space
    new = False  # whether one of them is
    for word, space, old in zip(words, spacing, former, strict=True):
        if space:
            touching, new = [], False
        new = new or word != old
        if touching and new and split_words("".join(touching) + word) != [*touching, word]:
            touching, new, space = [], word != old, " "
        touching.append(word)
        parts += space, word
    return "".join(parts).lstrip()
