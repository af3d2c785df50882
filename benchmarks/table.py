"""Every bound of the project in one table, as Markdown and as JSON: machine, versions, commit, met or not.

Runs the other scripts one after the other, each with its own settings, and collects the lines in which they
print a bound beside a figure::

    bash benchmarks/run.sh [--only loss.py dump.py] [--quick] [--json benchmarks.json]

--quick takes the smallest settings: it shows that everything runs, and its figures mean nothing. Without it
the whole takes hours of an idle machine; see docs/benchmarks.md for what each script does.
"""

from __future__ import annotations

import argparse
import datetime
import json
import operator
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from cmlm_kd.system.environment import describe_environment, native_bfloat16

ROOT = Path(__file__).resolve().parents[1]
NUMBER = r"\d[\d,]*(?:\.\d+)?"
BOUND = re.compile(
    rf"^(.*?)\(at (most|least) ({NUMBER})\): ({NUMBER})(?: [(\[]({NUMBER})(?:-| to )({NUMBER})[)\]])?"
)
STEP = re.compile(rf"^V=(\d+) +step ({NUMBER}) \(({NUMBER})-({NUMBER})\)", re.MULTILINE)
STEP_GOALS = {32_000: 0.55}
TINY_DUMP = "--layers 1 --hidden-size 32 --pairs 8 --original-pairs 8 --rounds 1"


@dataclass(frozen=True)
class Run:
    """A script with its flags, of the real run and of the quick one."""

    script: str
    flags: str
    quick: str


RUNS = (
    Run("training.py", "", "--updates 2 --pairs 40 --vocabulary 60 --width 16 --layers 1 --workers 0"),
    Run(
        "kd_step.py",
        "--vocabulary 10000 32000 --only step --optimizer fused_adam --cpu-time --repeats 9",
        "--vocabulary 60 --sentences 2 --only step --optimizer fused_adam --cpu-time --repeats 1",
    ),
    Run(
        "hidden_state_step.py",
        "--cpu-time --repeats 9",
        "--vocabulary 60 --sentences 2 --cpu-time --repeats 1",
    ),
    Run("loss.py", "", "--rounds 1 --tokens 64 --vocabulary 600 --width 32"),
    Run("dump.py", "--threads 1", TINY_DUMP),
    Run("dump.py", "--threads 1 --deviation 0.6", f"{TINY_DUMP} --deviation 0.6"),
    Run("translator_dump.py", "--threads 1", "--layers 1 --width 16 --pairs 8 --rounds 1"),
    Run("workers.py", "", "--pairs 12 --layers 1 --hidden-size 32 --rounds 1 --shards 2"),
    Run(
        "classification_step.py",
        "--cpu-time --rounds 40",
        "--layers 2 --teacher-layers 2 --width 32 --words 20 --rounds 1",
    ),
    Run("peers.py", "", "--updates 1 --rounds 1 --layers 2 --teacher-layers 4 --width 32 --words 50"),
    Run(
        "pretraining_step.py",
        "--cpu-time",
        "--layers 2 --teacher-layers 2 --width 32 --vocabulary 50 --rounds 1",
    ),
    Run("corpus_memory.py", "", "--megabytes 0.01 --epochs 2"),
    Run("growth.py", "", "--pairs 40 80 --vocabulary 60 --speed-pairs 10 --rounds 1"),
    Run(
        "early_exit.py", "--cpu-time", "--layers 3 --width 64 --words 50 --examples 12 --length 6 --rounds 1"
    ),
    Run("translate.py", "--cpu-time", "--updates 1 --sentences 6 --rounds 1 --batch-sizes 4 --beam 1"),
    Run("start_up.py", "", "--rounds 1"),
)


@dataclass(frozen=True)
class Row:
    """A bound and what was measured."""

    script: str
    flags: str
    what: str
    side: str  # most or least
    bound: float
    figure: float
    low: float | None
    high: float | None

    @property
    def met(self) -> bool:
        compare = operator.le if self.side == "most" else operator.ge
        return bool(compare(self.figure, self.bound))


def number(text: str | None) -> float | None:
    return None if text is None else float(text.replace(",", ""))


def rows_of(script: str, flags: str, printed: str) -> list[Row]:
    """Return the bounds in what a script printed; of a script that prints none, those that are known here."""
    rows = []
    for line in printed.splitlines():
        if match := BOUND.match(line.strip()):
            what, side, *figures = match.groups()
            bound, figure, low, high = map(number, figures)
            rows.append(Row(script, flags, what.strip(" ;:"), side, bound, figure, low, high))
    for vocabulary, *figures in STEP.findall(printed):
        figure, low, high = map(number, figures)
        bound = STEP_GOALS.get(int(vocabulary), 1.0)
        what = f"step with soft targets / fairseq's plain step, V={vocabulary}"
        rows.append(Row(script, flags, what, "most", bound, figure, low, high))
    return rows


def run(script: str, flags: str) -> tuple[list[Row], str]:
    """Run a script to its end; returns its rows and, where it failed, the end of what it said."""
    places = [*(str(ROOT / part) for part in ("", "tests/helpers")), os.environ.get("PYTHONPATH", "")]
    paths = os.pathsep.join(filter(None, places))
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *flags.split()],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    print(f"-- {script} {flags}\n{done.stdout}", file=sys.stderr, flush=True)
    return rows_of(script, flags, done.stdout), done.stderr[-2000:] if done.returncode else ""


def commit() -> str:
    """Return the commit that is measured, with a mark where files have changed since."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    return done.stdout.strip() or "unknown"


def markdown(rows: list[Row], failed: dict[str, str], machine: dict[str, object]) -> str:
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines += ["| script | what | bound | measured | met |", "|---|---|---|---|---|"]
    for row in rows:
        spread = "" if row.low is None else f" ({row.low:g}-{row.high:g})"
        met = "yes" if row.met else "**no**"
        lines.append(
            f"| `{row.script}` | {row.what} | at {row.side} {row.bound:g} | {row.figure:g}{spread} | {met} |"
        )
    for command in failed:
        lines.append(f"| `{command}` | did not run | | | **no** |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=sorted({each.script for each in RUNS}))
    parser.add_argument("--quick", action="store_true", help="smallest settings; figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    args = parser.parse_args()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for each in RUNS:
        if args.only and each.script not in args.only:
            continue
        flags = each.quick if args.quick else each.flags
        found, errors = run(each.script, flags)
        rows += found
        if errors:
            failed[f"{each.script} {flags}"] = errors
            print(errors, file=sys.stderr)
    machine = {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **describe_environment(),
        "bfloat16": " ".join(native_bfloat16() or ()) or "none of its own",
        "load": round(os.getloadavg()[0], 1),
    }
    print(markdown(rows, failed, machine))
    if args.json:
        found = [{**asdict(row), "met": row.met} for row in rows]
        document = {"machine": machine, "quick": args.quick, "rows": found, "failed": failed}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
