"""Words: where a sentence is cut for models and methods that work on words, and their vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from cmlm_kd.errors import UserError

MASK_WORDS = frozenset({"[MASK]", "<mask>"})
"""Spellings of a masked word that stay whole: BERT's and RoBERTa's."""

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


WORD_PATTERN = _WORD.pattern
"""Finds words with ``re.VERBOSE | re.IGNORECASE``, for programs that do without this module."""


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


PAD, UNKNOWN = "<pad>", "<unk>"


class WordVocabulary:
    """Words and their ids; 0 is padding, 1 an unknown word.

    Args:
        words: in the order of their ids, :data:`PAD` and :data:`UNKNOWN` first.
        lowercase: whether texts are lower-cased before a word is looked up.

    Raises:
        UserError: if the words do not begin with the two special ones, or one comes twice.
    """

    padding_idx = 0
    unknown_idx = 1

    def __init__(self, words: Sequence[str], *, lowercase: bool = True) -> None:
        if list(words[:2]) != [PAD, UNKNOWN]:
            raise UserError(
                f"a word vocabulary begins with {PAD} and {UNKNOWN}, not with {list(words[:2])}; give "
                "the one that was written when the student was trained"
            )
        self.words = list(words)
        self.lowercase = lowercase
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise UserError(f"word {twice!r} stands in the vocabulary twice; every word has one id")

    @classmethod
    def build(
        cls, texts: Iterable[str], *, lowercase: bool = True, min_count: int = 1, extra: Iterable[str] = ()
    ) -> WordVocabulary:
        """Collect the words of texts, frequent ones first, words of equal frequency in the order of text.

        Args:
            texts: to train on.
            lowercase: see the class.
            min_count: words that come less often are unknown.
            extra: words to know besides, such as those a file of word vectors begins with.

        Raises:
            UserError: if no word is left.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_words(text, lowercase))
        kept = [word for word, count in counts.most_common() if count >= min_count]
        words = list(dict.fromkeys([*kept, *extra]))
        if not words:
            raise UserError(
                f"no word comes {min_count} times or more in the training text; give more text or a lower "
                "minimum"
            )
        special = {PAD, UNKNOWN}
        return cls([PAD, UNKNOWN, *(word for word in words if word not in special)], lowercase=lowercase)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words; a text without words is one unknown word."""
        ids = [self._ids.get(word, self.unknown_idx) for word in _words(text, self.lowercase)]
        return ids or [self.unknown_idx]


def _words(text: str, lowercase: bool) -> list[str]:
    words = split_words(text.replace("’", "'"))  # as word vectors spell it
    if not lowercase:
        return words
    return [word if word in MASK_WORDS else word.lower() for word in words]
