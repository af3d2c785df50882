"""Augmentation by rules: new sentences, or pairs, for a teacher to label (Tang et al., 2019).

Each word is masked with one probability, replaced by a word of the same part of speech with a second one, and
kept otherwise; then, with a third one, the sentence is cut to a few words in a row. The probabilities are the
paper's; the rest is as in the released code (``dbert/distill/run/augment_paired_data.py``), whose own
probability of the last rule is 0. There the last n-gram of a sentence is never drawn; here it is. Nothing is
made twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cmlm_kd.augmentation.parts_of_speech import TaggedSentence, WordsByTag
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import AT_LEAST_ONE, SHARE, between, check_range
from cmlm_kd.tokenization.words import join_words


@dataclass(frozen=True)
class Rules:
    """How sentences are changed.

    Attributes:
        mask: probability that a word is masked.
        replace: probability that it is replaced; with ``mask`` at most 1.
        ngram: probability that the sentence is cut to an n-gram.
        longest_ngram: n is drawn evenly from 1 to this.
        mask_word: what stands for a masked word.

    Raises:
        UserError: for a value outside its range.
    """

    mask: float = 0.1
    replace: float = 0.1
    ngram: float = 0.25
    longest_ngram: int = 5
    mask_word: str = "[MASK]"

    def __post_init__(self) -> None:
        for name in ("mask", "replace", "ngram"):
            if not SHARE.contains(getattr(self, name)):
                raise UserError(f"--{name} is {getattr(self, name)}; give a probability, {SHARE.allowed}")
        if self.mask + self.replace > 1.0:
            raise UserError(
                f"--mask {self.mask} and --replace {self.replace} exclude each other; their sum is at most 1"
            )
        check_range("--longest-ngram", self.longest_ngram, AT_LEAST_ONE)
        if not self.mask_word.strip() or set(self.mask_word) & set("\t\n\r"):
            raise UserError(f"--mask-word is {self.mask_word!r}, it must be a word")


def changed_sentence(
    sentence: TaggedSentence, words_by_tag: WordsByTag, rules: Rules, draw: Callable[[], float]
) -> str:
    """Return the sentence with the rules applied, as text.

    Args:
        sentence: cut into words.
        words_by_tag: what a word is replaced from.
        rules: with their probabilities.
        draw: the next random number, even in [0, 1). Nothing else is random.
    """
    mask, change = rules.mask, rules.mask + rules.replace
    words, former, tags = sentence.words.copy(), sentence.words, sentence.tags
    for i in range(len(words)):
        drawn = draw()
        if drawn < mask:
            words[i] = rules.mask_word
        elif drawn < change:
            words[i] = words_by_tag.draw(tags[i], draw)
    spacing = sentence.spacing
    if draw() < rules.ngram:
        length = 1 + int(draw() * rules.longest_ngram)
        if length < len(words):
            start = int(draw() * (len(words) - length + 1))
            kept = slice(start, start + length)
            words, former, spacing = words[kept], former[kept], spacing[kept]
    return join_words(words, spacing, former)


SENTENCE_ITERATIONS, PAIR_ITERATIONS = 20, 10
"""How often the paper applies its rules to a sentence, and to a pair."""

ITERATIONS = between(1, 10_000)
"""How often a user may have an example changed."""


@dataclass
class Augmentation:
    """New sentences, or pairs, made from a corpus by :class:`Rules`.

    Args:
        first: every example's sentence, or the first one of its pair; cut and tagged.
        second: the second sentences, None for single sentences.
        rules: see there.
        iterations: how many new examples are tried of each; those that were there before are dropped.
        seed: equal seeds, corpora and settings give equal sentences, on every machine.
    """

    first: Sequence[TaggedSentence]
    second: Sequence[TaggedSentence] | None
    rules: Rules
    iterations: int
    seed: int
    tried: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the example each comes from, counted from 0, and one or two texts that are new."""
        self.tried = 0
        draw = random.Random(self.seed).random
        sentences = [*self.first, *(self.second or ())]
        words_by_tag = WordsByTag(sentences)
        texts = [joined(sentence) for sentence in sentences]
        rows = len(self.first)
        seen = {self._texts(texts, row) for row in range(rows)}
        for row in range(rows):
            for _ in range(self.iterations):
                self.tried += 1
                # Of a pair the first sentence is changed, the second, or both, equally often.
                sides = int(draw() * 3) if self.second is not None else 0
                new = self._texts(texts, row)
                if sides != 1:
                    first = changed_sentence(self.first[row], words_by_tag, self.rules, draw)
                    new = (first, *new[1:])
                if sides != 0 and self.second is not None:
                    new = (new[0], changed_sentence(self.second[row], words_by_tag, self.rules, draw))
                if new not in seen:
                    seen.add(new)
                    yield row, new

    def _texts(self, texts: list[str], row: int) -> tuple[str, ...]:
        return (texts[row],) if self.second is None else (texts[row], texts[len(self.first) + row])


def joined(sentence: TaggedSentence) -> str:
    """Return a sentence as text, each run of white space as one space."""
    return join_words(sentence.words, sentence.spacing, sentence.words)
