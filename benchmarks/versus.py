"""This checkout against another one: figures of three benchmarks, and CPU time of ``cmlm-kd --help``.

Runs each in turn, here and there, with one thread, and prints for each figure the median here, the median
there and the median of the rounds' ratios with the smallest and the largest::

    python benchmarks/versus.py OTHER_CHECKOUT [--rounds 5] [--only help kd_step dump early_exit]

Both checkouts use the environment of the Python that runs this. Most figures are ratios to a fixed thing
themselves, such as fairseq's own step: what slows the machine down slows both of their sides.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parents[1]


class Run(NamedTuple):
    """A command, and its figures: name -> pattern of what it prints, or none for its CPU time."""

    words: list[str]
    figures: dict[str, str]


RUNS = {
    "help": Run(["-m", "cmlm_kd", "--help"], {"cmlm-kd --help, s of CPU": ""}),
    "kd_step": Run(
        [
            *("benchmarks/kd_step.py", "--vocabulary", "10000", "--repeats", "3"),
            *("--sentences", "32", "--only", "step"),
        ],
        {"step with a teacher / fairseq's own": r"step (\d\.\d+) "},
    ),
    "dump": Run(
        [
            *(
                "benchmarks/dump.py",
                "--pairs",
                "64",
                "--original-pairs",
                "8",
                "--layers",
                "3",
                "--rounds",
                "1",
            ),
            *("--hidden-size", "192", "--max-tokens", "1000", "--float32"),
        ],
        {
            "dump, target tokens per second": r"ours, float32: ([\d,.]+\d) target tokens",
            # Whatever the bound: a checkout of before has another one.
            "dump / bare encoder, time": r"to the bare encoder's \(at most [\d.]+\): (\d+\.\d+)",
        },
    ),
    "early_exit": Run(
        [
            *("benchmarks/early_exit.py", "--examples", "80", "--layers", "4", "--width", "128"),
            *("--rounds", "3", "--cpu-time", "--traffic", "arrival"),
        ],
        {
            "speed 0 / plain encoder, time": r"speed 0 / plain [^:]*: (\d+\.\d+)",
            "1.5 times fewer operations, times as fast": r"operations 1\.\d+ times fewer.*?time (\d+\.\d+)",
            "3 times fewer operations, times as fast": r"operations 3\.\d+ times fewer.*?time (\d+\.\d+)",
        },
    ),
}


def run(checkout: Path, asked: Run) -> list[float]:
    """Return the figures of a run in a checkout."""
    paths = os.pathsep.join(str(checkout / part) for part in ("", "tests", "tests/helpers"))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *asked.words],
        cwd=checkout,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(asked.words)} failed:\n{done.stderr[-2000:]}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [figure(pattern, done.stdout) if pattern else seconds for pattern in asked.figures.values()]


def figure(pattern: str, printed: str) -> float:
    """Return the number that a pattern finds in what a benchmark printed."""
    found = re.search(pattern, printed)
    if found is None:
        raise SystemExit(f"no figure like {pattern!r} in:\n{printed}")
    return float(found[1].replace(",", ""))


def compare(asked: Run, other: Path, rounds: int) -> None:
    """Print the figures of one run, here and there."""
    figures: dict[Path, list[list[float]]] = {HERE: [], other: []}
    for number in range(-1, rounds):
        for checkout in (HERE, other) if number % 2 else (other, HERE):
            found = run(checkout, asked)
            if number >= 0:  # the first is for nothing: files are read and compiled
                figures[checkout].append(found)
    here, there = (np.array(figures[checkout]).T for checkout in (HERE, other))  # (figures, rounds)
    for label, ours, theirs in zip(asked.figures, here, there, strict=True):
        ratios = ours / theirs
        print(
            f"{label:<42} here {np.median(ours):9.3f}  there {np.median(theirs):9.3f}  "
            f"ratio {np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f})",
            flush=True,
        )


def commit_of(checkout: Path) -> str:
    """Return the commit that a checkout is at."""
    words = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, text=True, capture_output=True, check=True).stdout.strip()


def main() -> None:
    """Compare what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    other = args.other.resolve()
    print(f"here {commit_of(HERE)}, there {commit_of(other)}, 1 thread, {args.rounds} rounds", flush=True)
    for name in args.only:
        compare(RUNS[name], other, args.rounds)


if __name__ == "__main__":
    main()
