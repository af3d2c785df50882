"""Draw the sentences of every split from its frames, each sentence once in the whole corpus."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cmlm_kd.data.numbers.frames import SLOT, Frame, frames_of_split
from cmlm_kd.data.numbers.lexicon import Phrase
from cmlm_kd.data.numbers.slots import SLOTS
from cmlm_kd.data.numbers.values import Draw
from cmlm_kd.errors import UserError

PLAIN_SHARE = 0.3  # sentences that are a bare clause; the others are spread over the settings
TAKEN_UP_SHARE = 0.6  # lines of monolingual text with a second sentence about the same values
MOST_MISSES = 2000  # draws without a new sentence after which the frames count as exhausted


@dataclass(frozen=True)
class CorpusSizes:
    """How many pairs of sentences to draw, and how many lines of monolingual text."""

    pairs: int = 3000
    valid: int = 500
    test: int = 500
    monolingual: int = 30_000


DEFAULT_SIZES = CorpusSizes()


@dataclass
class Corpus:
    """Parallel pairs by split, and lines of English text without translation."""

    parallel: dict[str, list[Phrase]] = field(default_factory=dict)
    monolingual: list[str] = field(default_factory=list)


def normalised(sentence: str) -> str:
    """Return what two sentences must differ in to count as different: letters and digits, case folded."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return "".join(character for character in folded if character.isalnum())


def fill(frame: Frame, draw: Draw, filled: dict[str, Phrase] | None = None) -> Phrase:
    """Fill the slots of ``frame``; two slots of one kind get different values.

    Slots that ``filled`` names keep their values; the others are added to it.
    """
    filled = {} if filled is None else filled
    for match in SLOT.finditer(frame.english):
        key, kind = match.group()[1:-1], match.group(1)
        values = {value for name, value in filled.items() if SLOT.fullmatch(f"{{{name}}}")[1] == kind}  # type: ignore[index]
        while key not in filled:
            value = SLOTS[kind](draw)
            if value not in values:
                filled[key] = value
    german = frame.german.format(**{key: value.german for key, value in filled.items()})
    english = frame.english.format(**{key: value.english for key, value in filled.items()})
    return Phrase(*(text[:1].upper() + text[1:] for text in (german, english)))


def _draw_group(groups: Sequence[Sequence[Frame]], draw: Draw) -> Sequence[Frame]:
    return groups[draw.random.randrange(len(groups))]


def _draw_frame(group: Sequence[Frame], draw: Draw) -> Frame:
    if len(group) == 1 or draw.happens(PLAIN_SHARE):
        return group[0]
    return group[draw.random.randrange(1, len(group))]


def _draw_pair(groups: Sequence[Sequence[Frame]], draw: Draw) -> list[Phrase]:
    return [fill(_draw_frame(_draw_group(groups, draw), draw), draw)]


def _draw_line(groups: Sequence[Sequence[Frame]], draw: Draw) -> list[Phrase]:
    """Draw a sentence or, as texts do, a sentence and another one that takes it up again."""
    group = _draw_group(groups, draw)
    frames = [_draw_frame(group, draw)]
    if draw.happens(TAKEN_UP_SHARE):
        frames += {_draw_frame(group, draw)} - set(frames)
    filled: dict[str, Phrase] = {}
    return [fill(frame, draw, filled) for frame in frames]


def _draw_new(draw_one: Callable[[], list[Phrase]], count: int, seen: set[str]) -> list[list[Phrase]]:
    """Draw ``count`` times sentences that, normalised, are not in ``seen``; add them to it."""
    drawn: list[list[Phrase]] = []
    misses = 0
    while len(drawn) < count:
        sentences = draw_one()
        keys = {f"{side}:{normalised(text)}" for pair in sentences for side, text in enumerate(pair) if text}
        if keys & seen:
            misses += 1
            if misses > MOST_MISSES:
                raise UserError(
                    f"the frames give only {len(drawn)} different sentences where {count} were "
                    "asked for; ask for fewer"
                )
            continue
        misses = 0
        seen |= keys
        drawn.append(sentences)
    return drawn


def build_corpus(seed: int = 1, sizes: CorpusSizes = DEFAULT_SIZES) -> Corpus:
    """Draw the corpus; equal seeds and sizes give equal corpora.

    Every split has its own random stream; what an earlier split has (test is first) is drawn again.

    Raises:
        UserError: if the frames cannot give as many different sentences.
    """
    corpus, seen = Corpus(), set[str]()
    for split, count in (("test", sizes.test), ("valid", sizes.valid), ("train", sizes.pairs)):
        draw = Draw(random.Random(f"{seed}:{split}"))
        pairs = _draw_new(partial(_draw_pair, frames_of_split(split), draw), count, seen)
        corpus.parallel[split] = [pair for (pair,) in pairs]
    english_frames = [
        [Frame("", frame.english) for frame in group]
        for split in ("train", "monolingual")
        for group in frames_of_split(split)
    ]
    draw = Draw(random.Random(f"{seed}:monolingual"), wide=True)
    lines = _draw_new(partial(_draw_line, english_frames, draw), sizes.monolingual, seen)
    corpus.monolingual = [" ".join(sentence.english for sentence in line) for line in lines]
    return corpus
