"""The corpus of numbers: sentences drawn from the frames of each split, each of them once, and its files."""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cmlm_kd.data.numbers.frames import SLOT, Frame, frames_of_split
from cmlm_kd.data.numbers.lexicon import Phrase
from cmlm_kd.data.numbers.slots import SLOTS
from cmlm_kd.data.numbers.values import Draw
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import check_new_directory, directory_written_aside, finish_interrupted
from cmlm_kd.system.manifests import read_object
from cmlm_kd.version import __version__

PLAIN_SHARE = 0.3  # sentences that are a bare clause; the others are spread over the settings
TAKEN_UP_SHARE = 0.6  # lines of monolingual text with a second sentence about the same values
MOST_MISSES = 2000  # draws without a new sentence after which the frames count as exhausted


Sentences = list[tuple[Frame, Phrase]]  # a line: one sentence, or two about the same values


@dataclass(frozen=True)
class CorpusSizes:
    """How many pairs of sentences to draw, and how many lines of monolingual text."""

    pairs: int = 3000
    valid: int = 500
    test: int = 500
    monolingual: int = 30_000


DEFAULT_SIZES = CorpusSizes()


@dataclass
class NumbersCorpus:
    """Parallel pairs by split with the id of each one's clause, and lines of English without translation."""

    parallel: dict[str, list[Phrase]] = field(default_factory=dict)
    clauses: dict[str, list[str]] = field(default_factory=dict)
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


def _draw_frame(group: Sequence[Frame], draw: Draw) -> Frame:
    if len(group) == 1 or draw.happens(PLAIN_SHARE):
        return group[0]
    return group[draw.random.randrange(1, len(group))]


class _Turns:
    """Frames of every clause in turn, each round in another order, so that all clauses count the same.

    A clause has its other frames before one comes again: a split shows as many constructions as it can.
    """

    def __init__(self, groups: Sequence[Sequence[Frame]], draw: Draw) -> None:
        self._groups, self._draw = groups, draw
        self._waiting: list[int] = []
        self._unused: dict[int, list[Frame]] = {}

    def draw_pair(self) -> Sentences:
        """Draw a sentence of the clause whose turn it is."""
        if not self._waiting:
            self._waiting = list(range(len(self._groups)))
            self._draw.random.shuffle(self._waiting)
        turn = self._waiting.pop()
        if not self._unused.get(turn):
            self._unused[turn] = list(self._groups[turn])
        frame = _draw_frame(self._unused[turn], self._draw)
        self._unused[turn].remove(frame)
        return [(frame, fill(frame, self._draw))]


def _draw_line(groups: Sequence[Sequence[Frame]], draw: Draw) -> Sentences:
    """Draw a sentence or, as texts do, a sentence and another one that takes it up again."""
    group = groups[draw.random.randrange(len(groups))]
    frames = [_draw_frame(group, draw)]
    if draw.happens(TAKEN_UP_SHARE):
        frames += {_draw_frame(group, draw)} - set(frames)
    filled: dict[str, Phrase] = {}
    return [(frame, fill(frame, draw, filled)) for frame in frames]


def _draw_new(draw_one: Callable[[], Sentences], count: int, seen: set[str]) -> list[Sentences]:
    """Draw ``count`` times sentences that, normalised, are not in ``seen``; add them to it."""
    drawn: list[Sentences] = []
    misses = 0
    while len(drawn) < count:
        sentences = draw_one()
        keys = {
            f"{side}:{normalised(text)}" for _, pair in sentences for side, text in enumerate(pair) if text
        }
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


def build_corpus(seed: int = 1, sizes: CorpusSizes = DEFAULT_SIZES) -> NumbersCorpus:
    """Draw the corpus; equal seeds and sizes give equal corpora.

    Every split has its own random stream; what an earlier split has (test is first) is drawn again.

    Raises:
        UserError: if the frames cannot give as many different sentences.
    """
    corpus, seen = NumbersCorpus(), set[str]()
    for split, count in (("test", sizes.test), ("valid", sizes.valid), ("train", sizes.pairs)):
        draw = Draw(random.Random(f"{seed}:{split}"))
        pairs = _draw_new(_Turns(frames_of_split(split), draw).draw_pair, count, seen)
        corpus.parallel[split] = [pair for ((_, pair),) in pairs]
        corpus.clauses[split] = [frame.clause for ((frame, _),) in pairs]
    english_frames = [
        [Frame("", frame.english) for frame in group]
        for split in ("train", "monolingual")
        for group in frames_of_split(split)
    ]
    draw = Draw(random.Random(f"{seed}:monolingual"), wide=True)
    lines = _draw_new(partial(_draw_line, english_frames, draw), sizes.monolingual, seen)
    corpus.monolingual = [" ".join(sentence.english for _, sentence in line) for line in lines]
    return corpus


NUMBERS_MANIFEST = "manifest.json"
SPLITS = ("train", "valid", "test", "monolingual")
MONOLINGUAL_FILE = "mono.en"
FILES = (
    *(f"{split}.{language}" for split in ("train", "valid", "test") for language in ("de", "en")),
    *(f"{split}.clauses" for split in ("valid", "test")),
    MONOLINGUAL_FILE,
)


def _contents(corpus: NumbersCorpus) -> dict[str, bytes]:
    lines = {MONOLINGUAL_FILE: corpus.monolingual}
    for split, pairs in corpus.parallel.items():
        lines[f"{split}.de"] = [pair.german for pair in pairs]
        lines[f"{split}.en"] = [pair.english for pair in pairs]
        lines[f"{split}.clauses"] = corpus.clauses[split]
    return {name: "".join(f"{line}\n" for line in lines[name]).encode("utf-8") for name in FILES}


@cache
def _frames_sha256() -> str:
    frames = [asdict(frame) for split in SPLITS for group in frames_of_split(split) for frame in group]
    return hashlib.sha256(json.dumps(frames).encode()).hexdigest()


def _recipe(seed: int, sizes: CorpusSizes) -> dict[str, Any]:
    """Return everything that decides what the corpus is."""
    return {
        "seed": seed,
        "sizes": asdict(sizes),
        "versions": {"cmlm-kd": __version__, "babel": version("babel"), "num2words": version("num2words")},
        "clauses": {split: len(frames_of_split(split)) for split in SPLITS},
        "frames": {split: sum(map(len, frames_of_split(split))) for split in SPLITS},
        "frames_sha256": _frames_sha256(),
    }


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = read_object(directory / NUMBERS_MANIFEST, "")
    except UserError:  # whatever is there: it is not, or not any more, what this command wrote
        return None
    hashes = manifest.get("sha256")
    # Of another program's manifest, the files beside it are not this command's to replace.
    ours = {"seed", "sizes"} <= manifest.keys() and isinstance(hashes, dict) and hashes.keys() <= set(FILES)
    return manifest if ours else None


def read_corpus_manifest(directory: Path, seed: int, sizes: CorpusSizes) -> dict[str, Any] | None:
    """Return the manifest if ``directory`` already holds exactly this corpus, undamaged; else None."""
    finish_interrupted(directory)
    manifest = _read_manifest(directory)
    if manifest is None or any(manifest.get(key) != value for key, value in _recipe(seed, sizes).items()):
        return None
    for name in FILES:
        path = directory / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != manifest["sha256"].get(
            name
        ):
            return None
    return manifest


def write_numbers_corpus(
    directory: Path, seed: int = 1, sizes: CorpusSizes = DEFAULT_SIZES
) -> dict[str, Any]:
    """Write ``{train,valid,test}.{de,en}``, ``mono.en`` and ``manifest.json`` to ``directory``, all or none.

    An earlier corpus of this command makes room; other files stay.

    ``valid.clauses`` and ``test.clauses`` name the clause of each line: clusters for significance.

    Returns:
        the manifest: seed, sizes, versions, number and SHA-256 of frames, SHA-256 of every file.

    Raises:
        UserError: if the frames cannot give as many different sentences, or files of these names are in the
            way that this command did not write.
    """
    finish_interrupted(directory)
    former: tuple[str, ...] = (*FILES, NUMBERS_MANIFEST)
    if _read_manifest(directory) is None:
        former = ()
        check_new_directory(
            directory,
            "holds {entry} but no manifest.json of this command",
            "give another folder",
            in_the_way=lambda path: path.name in FILES,
        )
    contents = _contents(build_corpus(seed, sizes))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {**_recipe(seed, sizes), "sha256": hashes}
    contents[NUMBERS_MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    with directory_written_aside(directory, manifest=NUMBERS_MANIFEST, replaces=former) as partial:
        for name, content in contents.items():
            (partial / name).write_bytes(content)
    return manifest
