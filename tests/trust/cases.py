"""A case, what it needs around it, and the corpus of all cases."""

from __future__ import annotations

import random
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from children import USUAL, Ended, Surroundings, run
from programs import Program
from verdicts import Files, files_in

HANGS_AFTER = 240.0
"""Seconds; a machine that is busy with other things is several times slower than one that is not."""


@dataclass(frozen=True)
class Reference:
    """What a program does when nothing is in its way."""

    ended: Ended
    before: Files
    after: Files


class Place:
    """Where one worker runs cases: a folder that every case gets anew, and the base."""

    def __init__(self, scratch: Path, base: Path, references: dict[str, Reference]) -> None:
        self.area, self.streams = scratch / "area", scratch / "streams"
        self.base, self.references = base, references
        self.folder = self.area / "a" / "b" / "case"

    def fresh(self, program: Program) -> Path:
        """Return a fresh copy of the program's group."""
        shutil.rmtree(self.area, ignore_errors=True)
        shutil.rmtree(self.streams / "tmp", ignore_errors=True)
        self.folder.parent.mkdir(parents=True)
        shutil.copytree(self.base / program.group, self.folder)
        return self.folder

    def run(self, program: Program, words: Iterable[str] = (), around: Surroundings = USUAL) -> Ended:
        """Run a program, or other words than its own, in the folder."""
        return run(tuple(words) or program.words, self.folder, self.streams, HANGS_AFTER, around)

    def left_in_tmp(self) -> list[str]:
        """Return what lies in the folder of temporary files, without what torch makes when it is imported."""
        names = sorted(path.name for path in (self.streams / "tmp").iterdir())
        return [name for name in names if not name.startswith("torchinductor_")]

    def files(self) -> Files:
        """Return the files of the folder."""
        return files_in(self.folder)

    def outside(self) -> list[str]:
        """Return what was written outside the folder."""
        inside = {self.folder, *self.folder.parents}
        found = (path for path in self.area.rglob("*") if path not in inside)
        return [str(path.relative_to(self.area)) for path in found if self.folder not in path.parents]


@dataclass(frozen=True)
class Case:
    """One thing that is tried.

    Attributes:
        name: part, program and what is done to it, joined by ``/``.
        check: does it, and returns what is wrong, in words.
    """

    name: str
    check: Callable[[Place], str | None]

    @property
    def part(self) -> str:
        """The part of the harness that it belongs to."""
        return self.name.split("/")[0]


def chance_of(*words: object) -> random.Random:
    """Return a random generator that depends on words alone."""
    return random.Random(zlib.crc32(" ".join(map(str, words)).encode()))


def sample(cases: list[Case], most: int, seed: int) -> list[Case]:
    """Return so many cases, of each program about equally many, in their order."""
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(case.name.split("/")[1], []).append(index)
    for name, indexes in groups.items():
        chance_of(seed, name).shuffle(indexes)
    chosen: list[int] = []
    for round_ in _rounds(list(groups.values()), seed):
        chosen += round_[: most - len(chosen)]
    return [cases[index] for index in sorted(chosen)]


def _rounds(groups: list[list[int]], seed: int) -> Iterator[list[int]]:
    for place in range(max(map(len, groups), default=0)):
        found = [group[place] for group in groups if place < len(group)]
        chance_of(seed, place).shuffle(found)
        yield found
