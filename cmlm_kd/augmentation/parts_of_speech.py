"""Words by their part of speech, and the taggers that say which it is."""

from __future__ import annotations

import importlib
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.tokenization.words import split_with_spacing

Tagger = Callable[[list[str]], list[str]]
"""From the words of a sentence to as many tags."""

HANTA_MODELS = {"hanta-en": "morphmodel_en.pgz", "hanta-de": "morphmodel_ger.pgz"}


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence cut into words.

    Attributes:
        words: in order.
        spacing: a space or nothing before each word.
        tags: the part of speech of each word.
    """

    words: list[str]
    spacing: list[str]
    tags: list[str]


class WordsByTag:
    """The words of a corpus by part of speech, each drawn as often as it comes there."""

    def __init__(self, sentences: Iterable[TaggedSentence]) -> None:
        counts: dict[str, Counter[str]] = {}
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts.setdefault(tag, Counter())[word] += 1
        self._words = {tag: list(of_tag) for tag, of_tag in counts.items()}
        self._sums = {tag: list(accumulate(of_tag.values())) for tag, of_tag in counts.items()}

    def draw(self, tag: str, draw: Callable[[], float]) -> str:
        """Return a word with this tag; ``draw`` gives a random number in [0, 1)."""
        sums = self._sums[tag]
        return self._words[tag][bisect(sums, draw() * sums[-1])]


def tag_sentence(text: str, tagger: Tagger) -> TaggedSentence:
    """Cut a text into words and tag them.

    Raises:
        UserError: if the tagger does not return one tag per word.
    """
    words, spacing = split_with_spacing(text)
    try:
        tags = list(tagger(words)) if words else []
    except Exception as error:  # of whatever function the user named
        raise UserError(
            f"--tagger fails at the words {words}: {type(error).__name__}: {first_line(error)}; give a "
            "function from a list of words to a list of tags"
        ) from error
    if len(tags) != len(words):
        raise UserError(f"the tagger returned {len(tags)} tags for the {len(words)} words {words}")
    return TaggedSentence(words, spacing, tags)


def no_tags(words: list[str]) -> list[str]:
    """Give every word the same tag, for those who replace no word."""
    return [""] * len(words)


def load_tagger(name: str) -> Tagger:
    """Return a tagger by its name.

    Args:
        name: ``hanta-en``, ``hanta-de``, or ``MODULE:FUNCTION`` for a function of the user's, from words to
            their tags.

    Raises:
        UserError: if there is no such tagger.
    """
    if name in HANTA_MODELS:
        return _load_hanta(HANTA_MODELS[name])
    module, separator, function = name.partition(":")
    if not separator:
        known = ", ".join(HANTA_MODELS)
        raise UserError(f"--tagger {name}: no such tagger; give {known}, or MODULE:FUNCTION for your own")
    try:
        tagger = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--tagger {name}: {error}; give MODULE:FUNCTION that Python can import") from error
    if not callable(tagger):
        raise UserError(f"--tagger {name}: {function} is no function from words to their tags")
    return tagger  # type: ignore[no-any-return]


def _load_hanta(model: str) -> Tagger:
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise UserError(
            "tagging needs the package HanTa; install it with 'pip install hanta', or give --tagger "
            "MODULE:FUNCTION"
        ) from error
    tagger = HanoverTagger(model)

    def tag(words: list[str]) -> list[str]:
        return tagger.tag_sent(words, taglevel=0)  # type: ignore[no-any-return]

    return tag
