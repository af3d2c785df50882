"""From a corpus to many times as many sentences, or pairs, none of them twice."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cmlm_kd.augmentation.parts_of_speech import TaggedSentence, WordsByTag
from cmlm_kd.augmentation.rules import Rules, changed_sentence
from cmlm_kd.tokenization.words import join_words

SENTENCE_ITERATIONS, PAIR_ITERATIONS = 20, 10
"""How often the paper applies its rules to a sentence, and to a pair."""


@dataclass
class Augmentation:
    """New sentences, or pairs, made from a corpus by :class:`cmlm_kd.augmentation.rules.Rules`.

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
