"""Cases of odd surroundings: full disks, places that must not be written, no home, two processes at once."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cases import Case, Place, chance_of
from catalogue import PROGRAMS
from children import REPOSITORY, Ended, Surroundings, start
from programs import Program
from verdicts import REMEDY, changed, last_line, other_bytes, wrong_refusal, wrong_success

VARIABLES: dict[str, tuple[tuple[str, str | None], ...]] = {
    "no HOME": (("HOME", None),),
    "a HOME that is not there": (("HOME", "/nonexistent"),),
    "no TMPDIR": (("TMPDIR", None),),
    "a narrow terminal": (("COLUMNS", "20"),),
    "another hash seed": (("PYTHONHASHSEED", "7"),),
    "nothing": tuple((name, None) for name in ("HOME", "PATH", "LANG", "LC_ALL", "USER", "TERM")),
}

LIGHT = ("choose", "score", "split", "numbers-corpus", "compare-seeds", "flags", "augment")
"""Programs that start quickly: a locale is read when Python starts."""

SHARES = 2
"""Sizes of disks for each program."""


def environment(base: Path, seed: int) -> Iterator[Case]:
    """Yield the cases."""
    del base
    for program in PROGRAMS:
        for what in VARIABLES:
            yield Case(f"environment/{program.name}/{what}", partial(_variables, program, what))
        if program.writes:
            for number in range(SHARES):
                share = chance_of(seed, program.name, number).random() ** 2
                check = partial(_full, program, share)
                yield Case(f"environment/{program.name}/a disk for {share:.3f} of the largest file", check)
            yield Case(f"environment/{program.name}/a disk for nothing", partial(_full, program, 0.0))
            yield Case(f"environment/{program.name}/read-only", partial(_read_only, program))
            yield Case(f"environment/{program.name}/two at once", partial(_twice, program))
        yield Case(f"environment/{program.name}/a full standard output", partial(_full_output, program))
        if program.name in LIGHT:
            yield Case(f"environment/{program.name}/C locale", partial(_locale, program))


def _variables(program: Program, what: str, place: Place) -> str | None:
    place.fresh(program)
    before = place.files()
    return _same(program, place, before, place.run(program, around=Surroundings(environment=VARIABLES[what])))


def _same(program: Program, place: Place, before: dict, ended: Ended) -> str | None:
    after = place.files()
    reference = place.references[program.name]
    if ended.status:
        return f"status {ended.status}: {ended.err[-300:]!r}"
    wrong = wrong_success(ended, program, before, after)
    if wrong is None and program.name != "run":  # whose log has times
        wrong = other_bytes(program, ended, after, reference.ended, reference.after)
    return wrong


def _full(program: Program, share: float, place: Place) -> str | None:
    folder = place.fresh(program)
    before = place.files()
    reference = place.references[program.name]
    written = changed(reference.before, reference.after)
    largest = max((_sizes(place, program).get(name, 0) for name in written), default=0)
    ended = place.run(program, around=Surroundings(largest_file=int(share * largest)))
    del folder
    return _refused_or_same(program, place, before, ended)


_LARGEST: dict[str, dict[str, int]] = {}


def _sizes(place: Place, program: Program) -> dict[str, int]:
    """Return the size of each file that the program leaves, from one more undisturbed run."""
    if program.name not in _LARGEST:
        other = Place(place.area.parent / "sizes", place.base, place.references)
        folder = other.fresh(program)
        other.run(program)
        found = {
            str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()
        }
        _LARGEST[program.name] = found
        shutil.rmtree(other.area, ignore_errors=True)
    return _LARGEST[program.name]


def _refused_or_same(program: Program, place: Place, before: dict, ended: Ended) -> str | None:
    if ended.status == 0:
        return _same(program, place, before, ended)
    untouched = not program.is_training  # a training keeps its last whole checkpoint
    wrong = wrong_refusal(ended, program, before, place.files(), untouched=untouched)
    left = place.left_in_tmp()
    return wrong or (f"leaves {left[:5]} among temporary files" if left else None)


def _read_only(program: Program, place: Place) -> str | None:
    folder = place.fresh(program)
    before = place.files()
    _let_read(folder)
    try:
        ended = place.run(program, around=Surroundings(nobody=True))
    finally:
        _let_write(folder)
    return _refused_or_same(program, place, before, ended)


def _let_read(folder: Path) -> None:
    for parent in list(folder.parents)[:6]:
        if os.access(parent, os.W_OK) and parent.stat().st_uid == os.getuid() and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o055)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)


def _let_write(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def _twice(program: Program, place: Place) -> str | None:
    folder = place.fresh(program)
    before = place.files()
    other = place.streams.with_name("streams-2")
    for streams in (place.streams, other):
        for name in ("home", "tmp"):
            (streams / name).mkdir(parents=True, exist_ok=True)
        (streams / "in").write_bytes(b"")
    started = [start(program.words, folder, streams) for streams in (place.streams, other)]
    ends = [one.wait(480.0) for one in started]
    after = place.files()
    if all(ended.status for ended in ends):
        return f"both end in an error: {[ended.err[-200:] for ended in ends]}"
    for ended in ends:
        if ended.status:
            line = last_line(ended, program.speaker)
            if line is None or not REMEDY.search(line):
                return f"status {ended.status} without a line of its own: {ended.err[-300:]!r}"
    good = next(ended for ended in ends if not ended.status)
    wrong = wrong_success(good, program, before, after)
    if wrong is None and program.name not in {"run", "calibrate"}:
        reference = place.references[program.name]
        wrong = other_bytes(program, reference.ended, after, reference.ended, reference.after)
    return wrong


def _full_output(program: Program, place: Place) -> str | None:
    place.fresh(program)
    ended = place.run(program, around=Surroundings(stdout="/dev/full"))
    if place.references[program.name].ended.out == "" and ended.status == 0:
        return None
    if program.speaker.startswith("fairseq-"):
        return None if ended.status or not place.references[program.name].ended.out else "exit status 0"
    line = last_line(ended, program.speaker)
    if ended.status == 0 or line is None or "standard output" not in line:
        return f"status {ended.status}: {ended.err[-300:]!r}"
    return None


def _locale(program: Program, place: Place) -> str | None:
    folder = place.fresh(program)
    before = place.files()
    variables = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "cmlm_kd", *program.words],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
        timeout=480,
    )
    texts = [stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr)]
    return _same(program, place, before, Ended(done.returncode, texts[0], texts[1], 0.0))
