"""TinyBERT's augmentation: words replaced by what a masked language model, or their neighbours, suggest.

For every word that is letters alone and no function word, candidates are found once (Jiao et al., 2020,
algorithm 1): a word of one token is masked and predicted, a word of several gets the nearest words by their
vectors. Then N variants are drawn: each such word is replaced, with probability p, by one of its candidates.

What ``cmlm-kd augment --method mlm`` needs::

    options = ReplacementOptions(iterations=20, replace=0.4, candidates=15, mode="original", seed=1)
    replacement = MlmReplacement.from_pretrained(MODEL, options, vectors=PATH or None, device=DEVICE)
    for row, texts in replacement.augmented(first, second or None):
        ...  # row: the example it was made from, from 0; texts: (sentence,) or (first, second)

Only what is new is yielded, and once, in the order of the corpus; what stands between the replaced words
stays as it is, white space aside. Of a pair one side is changed at a time (the released code pairs its
variants of the second sentence with the last variant of the first, because it changes its row in place).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.augmentation.masked_words import MaskedWord, MaskedWords
from cmlm_kd.augmentation.neighbours import Neighbours, PieceNeighbours, VectorNeighbours
from cmlm_kd.augmentation.rules import ITERATIONS
from cmlm_kd.errors import UserError
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.system.ranges import AT_LEAST_ONE, SHARE, check_range
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.words import join_words, split_with_spacing

# Augmentation leaves them alone: to replace "not" is to change the label.
_FUNCTION_WORDS_BY_CLASS = {
    "articles and determiners": "a an the this that these those each every either neither both all any some "
    "no none such same other another own few more most much many several enough",
    "personal pronouns": "i me my mine myself you your yours yourself yourselves he him his himself she her "
    "hers herself it its itself we us our ours ourselves they them their theirs themselves one ones",
    "questions and relatives": "who whom whose which what when where why how whoever whatever whichever "
    "whenever wherever",
    "be, have, do": "am is are was were be been being have has had having do does did doing done",
    "modals": "can could may might must shall should will would ought cannot",
    "negation": "not nor never nothing nobody nowhere",
    "conjunctions": "and or but if than because as while until unless although though since whether so yet",
    "prepositions": "about above across after against along among around at before behind below beneath "
    "beside besides between beyond by down during except for from in into inside near of off on onto out "
    "outside over per through throughout to toward towards under underneath up upon via with within without",
    "adverbs": "again also already always ever here there then now just only once too very",
    "what is left of contractions": "s t d ll m o re ve don didn doesn isn aren wasn weren hasn haven hadn "
    "won wouldn couldn shouldn mustn needn mightn shan ain",
}

FUNCTION_WORDS = frozenset(word for words in _FUNCTION_WORDS_BY_CLASS.values() for word in words.split())
"""English function words, in lower case."""


_CHUNK = 1024  # examples whose words go through the model together


@dataclass(frozen=True)
class ReplacementOptions:
    """How sentences are changed.

    Attributes:
        iterations: how many variants are drawn of each sentence (N), equal ones kept once; the paper's is 20.
        replace: probability that a word is replaced (p), in [0, 1]; the paper's is 0.4.
        candidates: how many are asked for a word (K); the paper's is 15.
        mode: ``original`` shows the model the whole sentence beside the masked one, as the released code
            does; ``paper`` shows it the masked one alone. The default is what the published numbers come
            from: candidates stay closer to the word and the label more often right.
        seed: equal seeds, settings, corpora and predictions give equal variants.
        max_tokens: positions of the model's batches.
        bf16_autocast: let the model compute in bfloat16.

    Raises:
        UserError: for a value outside its range.
    """

    iterations: int = 20
    replace: float = 0.4
    candidates: int = 15
    mode: Literal["original", "paper"] = "original"
    seed: int = 1
    max_tokens: int = 8192
    bf16_autocast: bool = False

    def __post_init__(self) -> None:
        check_range("--iterations", self.iterations, ITERATIONS)
        for name in ("candidates", "max_tokens"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), AT_LEAST_ONE)
        if not SHARE.contains(self.replace):
            raise UserError(f"--replace is {self.replace}; give a probability, {SHARE.allowed}")


@dataclass(frozen=True)
class Replaceable:
    """A sentence and what its words may become.

    Attributes:
        words: in order.
        spacing: a space or nothing before each word.
        candidates: for each word; empty for those that stay.
    """

    words: list[str]
    spacing: list[str]
    candidates: list[list[str]]

    def text(self, words: Sequence[str]) -> str:
        """Return the sentence with other words."""
        return join_words(words, self.spacing, self.words)


class MlmReplacement:
    """Makes variants of sentences and pairs.

    Args:
        masked_words: predicts words of one token.
        neighbours: of the words of several tokens.
        options: see there.
        stop_words: lower-case words that stay.

    Attributes:
        tried: how many variants were drawn so far.
    """

    def __init__(
        self,
        masked_words: MaskedWords,
        neighbours: Neighbours,
        options: ReplacementOptions,
        stop_words: frozenset[str] = FUNCTION_WORDS,
    ) -> None:
        self.masked_words, self.neighbours = masked_words, neighbours
        self.options, self.stop_words = options, stop_words
        self.tried = 0

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        options: ReplacementOptions,
        *,
        vectors: Path | None = None,
        device: torch.device,
        stop_words: frozenset[str] = FUNCTION_WORDS,
    ) -> MlmReplacement:
        """Load a masked language model with its tokenizer.

        Args:
            name_or_path: Hugging Face directory or hub name.
            options: see there.
            vectors: GloVe's text format or ``.npy``; by default neighbours are looked for in the model's own
                word embeddings.
            device: where the model runs.
            stop_words: lower-case words that stay.

        Raises:
            UserError: if the model has no masked-LM head, or anything can not be loaded.
        """
        tokenizer = PieceTokenizer.from_pretrained(name_or_path)
        model = MaskedLM.from_pretrained(name_or_path, with_head=True)
        masked_words = MaskedWords(
            model,
            tokenizer,
            count=options.candidates,
            see_original=options.mode == "original",
            max_tokens=options.max_tokens,
            bf16_autocast=options.bf16_autocast,
            device=device,
        )
        neighbours: Neighbours
        if vectors is None:
            neighbours = PieceNeighbours(tokenizer, model.model.get_input_embeddings().weight)
        else:
            neighbours = VectorNeighbours.read(vectors)
        return cls(masked_words, neighbours, options, stop_words)

    def augmented(
        self, first: Sequence[str], second: Sequence[str] | None = None
    ) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield the example each new one comes from, counted from 0, and its one or two texts."""
        sides = [first] if second is None else [first, second]
        seen = set(zip(*sides, strict=True))
        rows = iter(range(len(first)))
        while chunk := list(islice(rows, _CHUNK)):
            texts = list(dict.fromkeys(side[row] for side in sides for row in chunk))
            replaceable = dict(zip(texts, self.replaceable(texts), strict=True))
            for row in chunk:
                draw = random.Random(f"{self.options.seed} {row}").random
                original = tuple(side[row] for side in sides)
                for i, text in enumerate(original):
                    for variant in self._variants(replaceable[text], draw):
                        new = (*original[:i], variant, *original[i + 1 :])
                        if new not in seen:
                            seen.add(new)
                            yield row, new

    def _variants(self, sentence: Replaceable, draw: Callable[[], float]) -> list[str]:
        """Return the distinct variants of a sentence, without itself."""
        options = self.options
        places = [i for i, candidates in enumerate(sentence.candidates) if candidates]
        seen = dict.fromkeys([sentence.text(sentence.words)])
        iterations = options.iterations if places else 0
        self.tried += iterations
        for _ in range(iterations):
            words = sentence.words.copy()
            for i in places:
                if draw() < options.replace:
                    candidates = sentence.candidates[i]
                    words[i] = candidates[int(draw() * len(candidates))]
            seen.setdefault(sentence.text(words))
        return list(seen)[1:]

    def replaceable(self, texts: Sequence[str]) -> list[Replaceable]:
        """Find the candidates of every word of several texts."""
        sentences = _cut(texts, self.masked_words.tokenizer)
        masked: list[MaskedWord] = []
        places: list[tuple[int, int]] = []
        rare: dict[str, list[tuple[int, int]]] = {}
        found = []
        for number, sentence in enumerate(sentences):
            found.append(Replaceable(sentence.words, sentence.spacing, [[] for _ in sentence.words]))
            for i, word in enumerate(sentence.words):
                if not word.isalpha() or word.lower() in self.stop_words:
                    continue
                position = sentence.position[i]
                if position is None or self.masked_words.words[sentence.tokens[position]] is None:
                    rare.setdefault(word, []).append((number, i))
                else:
                    masked.append(MaskedWord(sentence.tokens, position))
                    places.append((number, i))
        for (number, i), words in zip(places, self.masked_words.candidates(masked), strict=True):
            _keep(found[number], i, words)
        nearest = self.neighbours.nearest(list(rare), self.options.candidates)
        for occurrences, words in zip(rare.values(), nearest, strict=True):
            for number, i in occurrences:
                _keep(found[number], i, words)
        return found


def _keep(sentence: Replaceable, i: int, words: Sequence[str]) -> None:
    """Write down candidates, with a capital where the word has one."""
    capital = sentence.words[i][0].isupper()
    sentence.candidates[i] = [word[0].upper() + word[1:] if capital else word for word in words]


@dataclass(frozen=True)
class _Cut:
    """A text as words and as tokens; ``position`` of each word's token, None if it has several or none."""

    words: list[str]
    spacing: list[str]
    tokens: NDArray[np.int64]
    position: list[int | None]


def _cut(texts: Sequence[str], tokenizer: PieceTokenizer) -> list[_Cut]:
    cut = [split_with_spacing(text) for text in texts]
    joined = [
        "".join([part for pair in zip(spacing, words, strict=True) for part in pair])
        for words, spacing in cut
    ]
    found = []
    for (words, spacing), text, (ids, offsets) in zip(
        cut, joined, tokenizer.encode_with_offsets(joined), strict=True
    ):
        position = _positions(words, spacing, text, offsets)
        found.append(_Cut(words, spacing, np.array(ids, np.int64), position))
    return found


def _positions(
    words: Sequence[str], spacing: Sequence[str], text: str, offsets: Sequence[tuple[int, int]]
) -> list[int | None]:
    """Return, for each word, which token is the word and nothing else."""
    of_end = {end: i for i, (_, end) in enumerate(offsets)}
    found: list[int | None] = []
    end = 0
    for word, space in zip(words, spacing, strict=True):
        start = end + len(space)
        end = start + len(word)
        token = of_end.get(end)
        fits = (
            token is not None and offsets[token][0] <= start and not text[offsets[token][0] : start].strip()
        )
        found.append(token if fits else None)
    return found
