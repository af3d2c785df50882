"""The three rules by which Tang et al., 2019, make sentences for a teacher to label.

Each word is hidden with one probability, replaced by a word of the same part of speech with a second one, and
kept otherwise; then, with a third one, the sentence is cut to a few words in a row. The probabilities are the
paper's; the rest is as in the released code (``dbert/distill/run/augment_paired_data.py``), whose own
probability of the last rule is 0. There the last n-gram of a sentence is never drawn; here it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cmlm_kd.augmentation.parts_of_speech import TaggedSentence, WordsByTag
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.words import join_words


@dataclass(frozen=True)
class Rules:
    """How sentences are changed.

    Attributes:
        mask: probability that a word is hidden.
        replace: probability that it is replaced; with ``mask`` at most 1.
        ngram: probability that the sentence is cut to an n-gram.
        longest_ngram: n is drawn evenly from 1 to this.
        mask_word: what stands for a hidden word.

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
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"--{name} is {getattr(self, name)}, a probability is in [0, 1]")
        if self.mask + self.replace > 1.0:
            raise UserError(
                f"--mask {self.mask} and --replace {self.replace} exclude each other; their sum is at most 1"
            )
        if self.longest_ngram < 1:
            raise UserError(f"--longest-ngram is {self.longest_ngram}, it must be at least 1")
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
