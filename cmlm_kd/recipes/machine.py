"""The machine of a run: flags that depend on it, threads, variables, and the commands to paste there."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cmlm_kd.recipes.expressions import Flags
from cmlm_kd.recipes.reading import Recipe
from cmlm_kd.recipes.steps import Step

_TUNABLES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000"
    ":glibc.malloc.top_pad=67108864"
)
"""Makes glibc keep big blocks, which it gives back to the kernel and faults in again at every update."""
VARIABLES = {"TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore", "GLIBC_TUNABLES": _TUNABLES}


@dataclass(frozen=True)
class Machine:
    """What recipes ask of the machine.

    Attributes:
        has_gpu: whether trainings use one.
        autocast_pays: whether bfloat16 makes them faster.
        threads: how many there are to compute with.
    """

    has_gpu: bool
    autocast_pays: bool
    threads: int

    @property
    def names(self) -> dict[str, Any]:
        """The names that recipes may use: flags that are empty where they do not belong."""
        return {
            "cpu": Flags("" if self.has_gpu else "--cpu"),
            "autocast": Flags("--bf16-autocast" if self.autocast_pays else ""),
        }

    @property
    def lanes(self) -> int:
        """How many steps run side by side: small models use one thread much better than two."""
        return 1 if self.has_gpu or self.threads < 2 else 2


def find_machine(recipe: Recipe) -> Machine:
    """Look at the machine; for a GPU only where the recipe asks, since that takes seconds."""
    texts = [*recipe.flags.values(), *map(str, recipe.values.values())]
    texts += [line for step in recipe.steps.values() for line in step.run]
    threads = len(os.sched_getaffinity(0))
    if not any(re.search(r"\b(cpu|autocast)\b", text) for text in texts):
        return Machine(False, False, threads)
    import torch

    from cmlm_kd.system.devices import autocast_pays

    gpu = torch.cuda.is_available()
    return Machine(gpu, autocast_pays("cuda" if gpu else "cpu"), threads)


def threads_of(steps: dict[str, Step], lanes: int, threads: int) -> dict[str, int]:
    """Return how many threads each step computes with: all where nothing else can run at the same time.

    Args:
        steps: in an order in which they can run.
        lanes: how many run side by side.
        threads: of the machine.
    """
    before: dict[str, set[str]] = {}
    for step in steps.values():
        before[step.name] = set(step.before).union(*(before[name] for name in step.before))
    after = {name: {other for other in steps if name in before[other]} for name in steps}
    shared = max(1, threads // lanes)
    most = int(found) if (found := os.environ.get("OMP_NUM_THREADS", "")).isdigit() else threads
    return {
        name: min(most, threads if _is_alone(step, len(steps), before, after) else shared)
        for name, step in steps.items()
    }


def _is_alone(step: Step, total: int, before: dict[str, set[str]], after: dict[str, set[str]]) -> bool:
    return step.text.exclusive or len(before[step.name]) + len(after[step.name]) + 1 == total


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a command that computes with so many threads."""
    programs = os.path.dirname(sys.executable)
    given = {name: os.environ.get(name, value) for name, value in VARIABLES.items()}
    path = os.pathsep.join((programs, os.environ.get("PATH", os.defpath)))
    return {**os.environ, **given, "PATH": path, "OMP_NUM_THREADS": str(threads)}


def shell_lines(steps: dict[str, Step], threads: dict[str, int]) -> Iterator[str]:
    """Yield lines of bash that do what the run does, one step after the other.

    Args:
        steps: in an order in which they can run.
        threads: step -> how many it computes with.
    """
    yield "set -euo pipefail"
    for name, value in VARIABLES.items():
        yield f"export {name}={shlex.quote(os.environ.get(name, value))}"
    used, made = 0, set[str]()
    for step in steps.values():
        yield f"\n# {step.name}: {step.title}"
        if threads[step.name] != used:
            used = threads[step.name]
            yield f"export OMP_NUM_THREADS={used}"
        folders = {os.path.relpath(os.path.dirname(path)) for path in step.outputs} - made
        if folders:
            yield f"mkdir -p {shlex.join(sorted(folders))}"
        made |= folders
        yield step.command
