"""The harness: kills, flipped bits, malformed inputs, odd surroundings and hostile files, over every command.

``bash scripts/trust.sh`` runs all of it, an hour at most on two cores; what held at this commit already is
not run again. It ends with the number of cases that held: ``N of N``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from base import BaseError, build, warm_up
from cases import Case, Place, Reference, sample
from catalogue import PROGRAMS
from children import REPOSITORY, Ended, import_what_it_needed
from flag_values import malformed_values
from hostile import security
from kills import LONG, kills
from readers import hypothesis_readers
from spoilt_files import corruption, malformed_files, shuffled
from surroundings import environment

PARTS = {
    "readers": hypothesis_readers,
    "kill": kills,
    "corruption": corruption,
    "malformed": malformed_files,
    "values": malformed_values,
    "environment": environment,
    "security": security,
}
"""Part -> its cases, of the base's folder and a seed."""


def main() -> int:
    """Run what the flags say; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--most", type=int, metavar="N", help="so many cases of each part, drawn by the seed")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="cases whose name has one of these in it"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="start no case after so many; the same command goes on"
    )
    parser.add_argument(
        "--folder", type=Path, help="base, records and scratch; default: one of this commit in runs/trust"
    )
    arguments = parser.parse_args()
    end = time.monotonic() + (arguments.seconds or 10**9)
    folder = (arguments.folder or REPOSITORY / "runs" / "trust" / commit()).resolve()
    place = prepare(folder)
    cases = chosen(place, arguments)
    run_undisturbed(place, {case.name.split("/")[1] for case in cases}, folder / "references.json")
    held = Records(folder / "held.txt")
    pending = shuffled([case for case in cases if case.name not in held.names], arguments.seed)
    print(f"{len(cases)} cases, {len(cases) - len(pending)} of them held before", flush=True)
    failed = []
    for done, (case, wrong) in enumerate(tried(pending, place, folder, arguments.jobs, end), 1):
        if wrong is None:
            held.add(case.name)
        else:
            failed.append(case)
            print(f"FAILED {case.name}: {wrong}", flush=True)
        if done % 100 == 0:
            print(f"  {done} of {len(pending)} tried, {len(failed)} failed", flush=True)
    return tell(cases, held, failed)


def commit() -> str:
    """Return a name for the state of the code."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, check=True).stdout

    changes = git("diff", "HEAD") + git("ls-files", "--others", "--exclude-standard", "-s")
    head = git("rev-parse", "--short=12", "HEAD").decode().strip()
    return head + (f"-{hashlib.sha256(changes).hexdigest()[:8]}" if changes else "")


class Records:
    """Names of the cases that held, in a file that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = set(path.read_text(encoding="utf-8").split("\n")) if path.exists() else set()

    def add(self, name: str) -> None:
        """Note one."""
        self.names.add(name)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def prepare(folder: Path) -> Place:
    """Make the base, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for logger in (logging.getLogger(), *map(logging.getLogger, ("matplotlib", "datasets", "fsspec"))):
        logger.setLevel(logging.WARNING)
    warm_up()
    place = Place(folder / "scratch", folder / "base", {})
    build(place.base, folder / "scratch" / "streams")
    return place


def run_undisturbed(place: Place, names: set[str], noted: Path) -> None:
    """Run programs once on the base; what that gave is kept in a file."""
    documents = json.loads(noted.read_text()) if noted.exists() else {}
    place.streams.mkdir(parents=True, exist_ok=True)
    (place.streams / "modules").write_text(json.dumps(documents.get("modules", [])))
    import_what_it_needed(place.streams)
    for program in (found for found in (*PROGRAMS, *LONG) if found.name in names):
        known = documents.get(program.name)
        if known is None or known["words"] != list(program.words):
            place.fresh(program)
            before = place.files()
            ended = place.run(program)
            if ended.status:
                raise BaseError(f"{program.name}: status {ended.status}: {ended.err[-2000:]}")
            import_what_it_needed(place.streams)
            needed = json.loads((place.streams / "modules").read_text())
            documents["modules"] = sorted({*documents.get("modules", ()), *needed})
            known = {"words": list(program.words), "status": ended.status, "out": ended.out, "err": ended.err}
            known |= {"seconds": ended.seconds, "before": before, "after": place.files()}
            documents[program.name] = known
            noted.write_text(json.dumps(documents))
        ended = Ended(known["status"], known["out"], known["err"], known["seconds"])
        place.references[program.name] = Reference(ended, known["before"], known["after"])


def chosen(place: Place, arguments: argparse.Namespace) -> list[Case]:
    """Return the cases that the flags ask for."""
    found = []
    for part in arguments.parts:
        cases = list({case.name: case for case in PARTS[part](place.base, arguments.seed)}.values())
        if arguments.only:
            cases = [case for case in cases if any(text in case.name for text in arguments.only)]
        found += cases if arguments.most is None else sample(cases, arguments.most, arguments.seed)
    return found


_STATE: dict[str, object] = {}


def _try(index: int) -> tuple[int, str | None]:
    """Run one case, in a worker."""
    cases, shared, folder, end = (_STATE[name] for name in ("cases", "place", "folder", "end"))
    if time.monotonic() > end:  # type: ignore[operator]
        return index, "not tried: the time is over"
    place = Place(folder / f"worker-{os.getpid()}", shared.base, shared.references)  # type: ignore
    try:
        return index, cases[index].check(place)  # type: ignore[index]
    except Exception as error:
        return index, f"the harness fails: {type(error).__name__}: {error}"


def tried(cases: list[Case], place: Place, folder: Path, jobs: int, end: float):
    """Yield each case with what is wrong with it."""
    _STATE.update(cases=cases, place=place, folder=folder / "scratch", end=end)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for index, wrong in pool.imap_unordered(_try, range(len(cases))):
            if wrong is not None and wrong.startswith("not tried"):
                continue
            yield cases[index], wrong


def tell(cases: list[Case], held: Records, failed: list[Case]) -> int:
    """Print the numbers of each part, and of all."""
    for part in dict.fromkeys(case.part for case in cases):
        own = [case for case in cases if case.part == part]
        print(f"{part}: {sum(case.name in held.names for case in own)} of {len(own)}")
    good = sum(case.name in held.names for case in cases)
    left = len(cases) - good - len(failed)
    print(f"{good} of {len(cases)}" + (f"; {left} not tried yet: the same command goes on" if left else ""))
    return 0 if good == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
