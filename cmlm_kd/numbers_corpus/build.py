"""Draw the sentences of every split from its frames, each sentence once in the whole corpus."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from cmlm_kd.errors import UserError
from cmlm_kd.numbers_corpus.frames import SLOT, Frame, frames_of_split
from cmlm_kd.numbers_corpus.lexicon import Phrase
from cmlm_kd.numbers_corpus.slots import SLOTS
from cmlm_kd.numbers_corpus.values import Draw

PLAIN_SHARE = 0.3  # sentences that are a bare clause; the others are spread over the settings
MOST_MISSES = 2000  # draws without a new sentence after which the frames count as exhausted


@dataclass(frozen=True)
class CorpusSizes:
    """How many sentences to draw."""

    pairs: int = 3000
    valid: int = 500
    test: int = 500
    monolingual: int = 40_000


DEFAULT_SIZES = CorpusSizes()


@dataclass
class Corpus:
    """The sentences: parallel pairs by split, and English ones without translation."""

    parallel: dict[str, list[Phrase]] = field(default_factory=dict)
    monolingual: list[str] = field(default_factory=list)


def normalised(sentence: str) -> str:
    """Return what two sentences must differ in to count as different: letters and digits, case folded."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return "".join(character for character in folded if character.isalnum())


def fill(frame: Frame, draw: Draw) -> Phrase:
    """Fill the slots of ``frame``; two slots of one kind get different values."""
    filled: dict[str, Phrase] = {}
    for match in SLOT.finditer(frame.english):
        key, kind = match.group()[1:-1], match.group(1)
        values = {value for name, value in filled.items() if SLOT.fullmatch(f"{{{name}}}")[1] == kind}  # type: ignore[index]
        while key not in filled or filled[key] in values:
            filled[key] = SLOTS[kind](draw)
    german = frame.german.format(**{key: value.german for key, value in filled.items()})
    english = frame.english.format(**{key: value.english for key, value in filled.items()})
    return Phrase(*(text[:1].upper() + text[1:] for text in (german, english)))


def _draw_frame(groups: Sequence[Sequence[Frame]], draw: Draw) -> Frame:
    group = groups[draw.random.randrange(len(groups))]
    if len(group) == 1 or draw.happens(PLAIN_SHARE):
        return group[0]
    return group[draw.random.randrange(1, len(group))]


def _draw_new(groups: Sequence[Sequence[Frame]], count: int, draw: Draw, seen: set[str]) -> list[Phrase]:
    """Draw ``count`` pairs neither side of which, normalised, is in ``seen``; add them to it."""
    pairs: list[Phrase] = []
    misses = 0
    while len(pairs) < count:
        pair = fill(_draw_frame(groups, draw), draw)
        keys = {f"{side}:{normalised(text)}" for side, text in enumerate(pair) if text}
        if keys & seen:
            misses += 1
            if misses > MOST_MISSES:
                raise UserError(
                    f"the frames give only {len(pairs)} different sentences where {count} were "
                    "asked for; ask for fewer"
                )
            continue
        misses = 0
        seen |= keys
        pairs.append(pair)
    return pairs


def build_corpus(seed: int = 1, sizes: CorpusSizes = DEFAULT_SIZES) -> Corpus:
    """Draw the corpus; equal seeds and sizes give equal corpora.

    Every split has its own random stream; what an earlier split has (test is first) is drawn again.

    Raises:
        UserError: if the frames cannot give as many different sentences.
    """
    corpus, seen = Corpus(), set[str]()
    for split, count in (("test", sizes.test), ("valid", sizes.valid), ("train", sizes.pairs)):
        draw = Draw(random.Random(f"{seed}:{split}"))
        corpus.parallel[split] = _draw_new(frames_of_split(split), count, draw, seen)
    english_frames = [
        [Frame("", frame.english) for frame in group]
        for split in ("train", "monolingual")
        for group in frames_of_split(split)
    ]
    draw = Draw(random.Random(f"{seed}:monolingual"), wide=True)
    drawn = _draw_new(english_frames, sizes.monolingual, draw, seen)
    corpus.monolingual = [pair.english for pair in drawn]
    return corpus
