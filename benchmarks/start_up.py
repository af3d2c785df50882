"""What it takes to begin: CPU time of ``import cmlm_kd.api`` and of ``cmlm-kd --help``, beyond Python's own.

Each is a process of its own, round by round in turn::

    python benchmarks/start_up.py [--rounds 15]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import measuring
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "python": ["-c", "pass"],
    "import cmlm_kd.api": ["-c", "import cmlm_kd.api"],
    "cmlm-kd --help": ["-m", "cmlm_kd", "--help"],
}
GOALS = {"import cmlm_kd.api": 0.15, "cmlm-kd --help": 0.1}


def children() -> float:
    """Return the CPU time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(words: list[str]) -> None:
        command = [sys.executable, *words]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, cwd=ROOT)

    actions = {name: lambda words=words: start(words) for name, words in COMMANDS.items()}
    seconds = measuring.in_turn(actions, args.rounds, children)
    for name, goal in GOALS.items():
        more = np.maximum(seconds[name] - seconds["python"], 0.0)
        print(f"{name}, s of CPU beyond python -c pass (at most {goal}): {measuring.spread(more, 3)}")


if __name__ == "__main__":
    main()
