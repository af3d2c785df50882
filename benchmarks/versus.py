"""This checkout against another one: figures of the same benchmarks, CPU time of the same commands.

Runs each in turn, here and there, and prints for every number of a benchmark's lines the median here, the
median there and the ratio of the two with its spread over rounds::

    python benchmarks/versus.py OTHER_CHECKOUT [--rounds 5] [--only help kd_step dump early_exit]

Both checkouts use the environment of the Python that runs this. Numbers that are ratios themselves (such as a
step with a teacher to fairseq's own) say most: what slows the machine down slows both of their sides.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")
RUNS = {
    "help": ["-m", "cmlm_kd", "--help"],
    "kd_step": [
        *("benchmarks/kd_step.py", "--vocabulary", "10000", "--repeats", "3"),
        *("--sentences", "32", "--only", "step"),
    ],
    "dump": [
        *("benchmarks/dump.py", "--pairs", "64", "--original-pairs", "8", "--layers", "3", "--rounds", "1"),
        *("--hidden-size", "192", "--max-tokens", "1000", "--float32"),
    ],
    "early_exit": [
        *("benchmarks/early_exit.py", "--examples", "80", "--layers", "4", "--width", "128", "--rounds", "3"),
        *("--cpu-time", "--traffic", "arrival"),
    ],
}


def run(checkout: Path, words: list[str]) -> tuple[float, str]:
    """Return the CPU seconds of a run in a checkout, and what it printed."""
    paths = os.pathsep.join([str(checkout), str(checkout / "tests"), str(checkout / "tests" / "helpers")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def compare(name: str, other: Path, rounds: int) -> None:
    """Print the figures of one run, here and there."""
    words = RUNS[name]
    for checkout in (HERE, other):  # once for nothing: files are read and compiled
        run(checkout, words)
    figures: dict[Path, list[list[float]]] = {HERE: [], other: []}
    text = ""
    for number in range(rounds):
        for checkout in (HERE, other) if number % 2 else (other, HERE):
            seconds, text = run(checkout, words)
            printed = [] if name == "help" else NUMBER.findall(text)
            figures[checkout].append([seconds, *(float(found.replace(",", "")) for found in printed)])
    here, there = (np.array(figures[checkout]) for checkout in (HERE, other))  # (rounds, figures)
    if name != "help":
        print(text.strip())
    labels = ["CPU s", *(f"number {i}" for i in range(1, here.shape[1]))]
    for label, ours, theirs in zip(labels, here.T, there.T, strict=True):
        if np.ptp(np.concatenate((ours, theirs))) == 0:
            continue  # a setting
        ratios = ours / np.maximum(theirs, 1e-12)
        print(
            f"{name:<10} {label:<9} here {np.median(ours):8.3f}  there {np.median(theirs):8.3f}  "
            f"ratio {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    for name in args.only:
        compare(name, args.other.resolve(), args.rounds)


if __name__ == "__main__":
    main()
