"""Cases of commands that are killed or interrupted, and run again: they end with the same bytes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cases import Case, Place, chance_of
from catalogue import BY_NAME, PROGRAMS
from children import Surroundings
from programs import Program
from verdicts import TRACEBACK, changed, other_bytes, wrong_success

MOMENTS = 3
"""Cases of each program and signal; of trainings that go on, three times as many."""

SIGNALS = {"killed": signal.SIGKILL, "interrupted": signal.SIGINT}

AGAIN = {"calibrate", "prepare --overwrite", "resume a student"}
"""Programs that find in place of their input what they wrote."""

NEEDS_ROOM = {"run"}
"""Programs whose folder tells of the run."""


def kills(base: Path, seed: int) -> Iterator[Case]:
    """Yield a case for each moment at which a command that writes something is killed."""
    del base
    for program in (*LONG, *(found for found in PROGRAMS if found.writes)):
        for how, number in SIGNALS.items():
            if how == "interrupted" and program.is_training:
                continue  # fairseq's own
            for moment in range(MOMENTS * (1 + 2 * (program in LONG))):
                chance = chance_of(seed, program.name, how, moment)
                shares = tuple(chance.random() for _ in range(1 + moment % 2))
                check = partial(_kill, program, number, shares)
                yield Case(f"kill/{program.name}/{how}/{' and '.join(f'{s:.2f}' for s in shares)}", check)


def _longer(program: Program, words: str) -> Program:
    """Return a training that saves its state often."""
    kept = [*program.words]
    kept[kept.index("--max-update") + 1] = "8"
    return Program(f"{program.name} for long", program.group, (*kept, *words.split()), (), program.writes)


LONG = tuple(
    _longer(BY_NAME[name], "--save-interval-updates 2 --keep-interval-updates 1 --disable-validation")
    for name in ("train a student", "train with a cache", "train a masked LM")
)
"""Trainings that are killed in the middle and go on."""


def _kill(program: Program, number: signal.Signals, shares: tuple[float, ...], place: Place) -> str | None:
    reference = place.references[program.name]
    place.fresh(program)
    before = place.files()
    for share in shares:
        around = Surroundings(kill_after=share * reference.ended.seconds, signal=number)
        ended = place.run(program, around=around)
        if ended.hung:
            return "does not end at Ctrl-C"
        if TRACEBACK in ended.err:
            return f"a traceback: {ended.err.strip().splitlines()[-1]!r}"
        if ended.status == 0:
            break  # it was quicker than the signal
        is_interruption = number == signal.SIGINT
        if is_interruption and (
            ended.status != 130 or "interrupted" not in ended.err.strip().splitlines()[-1]
        ):
            return f"status {ended.status} at Ctrl-C: {ended.err[-300:]!r}"
        after = place.files()
        if program.writes and not changed(reference.after, after):
            return None  # the signal came when all was done
        if is_interruption:
            left = [name for name in changed(before, after) if not _goes_on(program, name)]
            if left:
                return f"leaves {left[:5]} behind at Ctrl-C"
            if place.left_in_tmp():
                return f"leaves {place.left_in_tmp()[:5]} among temporary files at Ctrl-C"
    if ended.status != 0:
        ended = place.run(program)
    after = place.files()
    if ended.status != 0:
        return f"does not go on: status {ended.status}: {ended.err[-300:]!r}"
    wrong = wrong_success(ended, program, before, after)
    if wrong is None and program.name not in NEEDS_ROOM:
        ended_alike = ended if program.name not in {"dump"} else reference.ended
        wrong = other_bytes(program, ended_alike, after, reference.ended, reference.after)
    return wrong


def _goes_on(program: Program, name: str) -> bool:
    return program.name in NEEDS_ROOM or any(
        name == place or name.startswith(f"{place}/") for place in program.goes_on
    )
