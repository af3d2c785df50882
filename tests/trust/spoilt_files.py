"""Cases of spoilt files: flipped bits, malformed contents, other things in their place."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cases import Case, Place, chance_of
from catalogue import PROGRAMS
from contents import PLACES, malformed
from programs import Program
from verdicts import other_bytes, wrong_refusal, wrong_success

FLIPS = 2
"""Flipped bits of each file that a program reads."""


def corruption(base: Path, seed: int) -> Iterator[Case]:
    """Yield a case for each flipped bit."""
    for program in PROGRAMS:
        for name in program.reads:
            size = (base / program.group / name).stat().st_size
            chance = chance_of(seed, program.name, name)
            for bit in sorted({chance.randrange(8 * size) for _ in range(FLIPS)}):
                check = partial(_flip, program, name, bit)
                yield Case(f"corruption/{program.name}/{name}/bit {bit}", check)


def malformed_files(base: Path, seed: int) -> Iterator[Case]:
    """Yield a case for each malformed content of each file."""
    for program in PROGRAMS:
        for name in program.reads:
            data = (base / program.group / name).read_bytes()
            for what in malformed(name, data, chance_of(seed, name)):
                check = partial(_malform, program, name, what, seed)
                yield Case(f"malformed/{program.name}/{name}/{what}", check)
            for what in PLACES:
                yield Case(f"malformed/{program.name}/{name}/{what}", partial(_replace, program, name, what))


def names_of(program: Program, name: str) -> list[str]:
    """Return what a message may name: the file, a folder it is in, or another one that no longer fits it.

    That one, or the flag before it, is named where nobody can tell which of the two is wrong.
    """
    path = Path(name)
    own = [path.name, *(str(folder) for folder in path.parents if folder.name)]
    pairs = itertools.pairwise(program.words)
    flags = [
        flag.lstrip("-")
        for flag, value in pairs
        if flag.startswith("--") and Path(value).parts[:1] == path.parts[:1]
    ]
    others = [Path(read).parts[0] for read in program.reads]
    return [*own, *flags, *others, *program.reads, *program.writes]


def _flip(program: Program, name: str, bit: int, place: Place) -> str | None:
    path = place.fresh(program) / name
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return _judge(program, name, place, checked=name in program.checked)


def _malform(program: Program, name: str, what: str, seed: int, place: Place) -> str | None:
    path = place.fresh(program) / name
    data = path.read_bytes()
    path.write_bytes(malformed(name, data, chance_of(seed, name))[what])
    return _judge(program, name, place, checked=name in program.checked)


def _replace(program: Program, name: str, what: str, place: Place) -> str | None:
    PLACES[what](place.fresh(program) / name)
    return _judge(program, name, place, checked=False)


def _judge(program: Program, name: str, place: Place, checked: bool) -> str | None:
    before = place.files()
    ended = place.run(program)
    after = place.files()
    if ended.status:
        # The line of a store speaks of it, that of a run of its recipe, whichever file is meant.
        return wrong_refusal(ended, program, before, after, names_of(program, name)) or _left(place)
    wrong = wrong_success(ended, program, before, after)
    if wrong is None and checked:
        reference = place.references[program.name]
        wrong = other_bytes(program, ended, after, reference.ended, reference.after)
        wrong = None if wrong is None else f"the change goes unnoticed: {wrong}"
    return wrong or _left(place)


def _left(place: Place) -> str | None:
    left = place.left_in_tmp()
    return f"leaves {left[:5]} among temporary files" if left else None


def shuffled(cases: list[Case], seed: int) -> list[Case]:
    """Return cases in an order in which those of one program are not all together."""
    found = list(cases)
    random.Random(seed).shuffle(found)
    return found
