"""A training corpus, augmented by rules or by a masked language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from cmlm_kd.augmentation.parts_of_speech import TaggedSentence, Tagger, load_tagger, no_tags, tag_sentence
from cmlm_kd.augmentation.rules import ITERATIONS, PAIR_ITERATIONS, SENTENCE_ITERATIONS, Augmentation, Rules
from cmlm_kd.data.classification import Examples
from cmlm_kd.system.ranges import check_range

if TYPE_CHECKING:
    from cmlm_kd.augmentation.mlm_replacement import MlmReplacement


@dataclass(frozen=True)
class AugmentedCorpus:
    """A corpus with what was made from it.

    Attributes:
        examples: the corpus, and after it the new examples. A new example carries the target of the one it
            was made from, which may well be wrong now: let the teacher judge.
        original: how many examples the corpus had.
        tried: how many were made, equal ones included.
    """

    examples: Examples
    original: int
    tried: int

    @property
    def new(self) -> int:
        """How many examples are new."""
        return len(self.examples) - self.original


def augment_corpus(
    examples: Examples, rules: Rules, tagger: str, iterations: int | None = None, seed: int = 1
) -> AugmentedCorpus:
    """Apply the rules to every example several times and keep what was not there before.

    Args:
        examples: with targets.
        rules: and their probabilities.
        tagger: of :func:`cmlm_kd.augmentation.parts_of_speech.load_tagger`; used where words are replaced.
        iterations: how often the rules are applied to an example; default: 20, to pairs 10, as in the paper.
        seed: equal seeds give equal examples.

    Raises:
        UserError: if there is no such tagger, or the iterations are none.
    """
    if iterations is None:
        iterations = SENTENCE_ITERATIONS if examples.second is None else PAIR_ITERATIONS
    check_range("--iterations", iterations, ITERATIONS)
    tag = load_tagger(tagger) if rules.replace else no_tags
    first = _tagged(examples.first, tag, "parts of speech")
    second = None if examples.second is None else _tagged(examples.second, tag, "of the second sentences")
    augmentation = Augmentation(first, second, rules, iterations, seed)
    together = _together(examples, augmentation)
    return AugmentedCorpus(together, len(examples), augmentation.tried)


def replace_words(examples: Examples, replacement: MlmReplacement) -> AugmentedCorpus:
    """Add what TinyBERT's augmentation makes of every example.

    Args:
        examples: with targets.
        replacement: see there.
    """
    together = _together(examples, replacement.augmented(examples.first, examples.second))
    return AugmentedCorpus(together, len(examples), replacement.tried)


def _tagged(sentences: list[str], tag: Tagger, description: str) -> list[TaggedSentence]:
    bar = tqdm(sentences, desc=description, unit="sentence", disable=None)
    return [tag_sentence(sentence, tag) for sentence in bar]


def _together(examples: Examples, made: Iterable[tuple[int, tuple[str, ...]]]) -> Examples:
    """Return the examples, and after them the new ones: the example each was made from, and its texts."""
    sources: list[int] = []
    texts: list[tuple[str, ...]] = []
    with tqdm(total=len(examples), desc="new examples", unit="example", disable=None) as bar:
        for source, new in made:
            bar.update(source - bar.n)
            sources.append(source)
            texts.append(new)
        bar.update(len(examples) - bar.n)
    second = examples.second
    rows = np.concatenate((np.arange(len(examples)), np.array(sources, np.int64)))  # (all,)
    return replace(
        examples.select(rows),
        first=examples.first + [text[0] for text in texts],
        second=None if second is None else second + [text[1] for text in texts],
    )
