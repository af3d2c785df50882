"""The machine of a run: flags that depend on it, threads, variables, and the commands to paste there."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cmlm_kd.recipes.expressions import Computed, Flags
from cmlm_kd.recipes.steps import Step

_TUNABLES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000"
    ":glibc.malloc.top_pad=67108864"
)
"""Makes glibc keep big blocks, which it gives back to the kernel and faults in again at every update."""
VARIABLES = {"TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore", "GLIBC_TUNABLES": _TUNABLES}


class Machine:
    """What recipes ask of the machine.

    Whether there is a GPU is looked up when it is asked for: torch, which knows, takes seconds to import.
    """

    @functools.cached_property
    def has_gpu(self) -> bool:
        """Whether trainings use one."""
        import torch

        return torch.cuda.is_available()

    @functools.cached_property
    def autocast_pays(self) -> bool:
        """Whether bfloat16 makes trainings faster."""
        from cmlm_kd.system.devices import autocast_pays

        return autocast_pays("cuda" if self.has_gpu else "cpu")

    @functools.cached_property
    def threads(self) -> int:
        """How many there are to compute with."""
        return len(os.sched_getaffinity(0))

    @property
    def names(self) -> dict[str, Any]:
        """The names that recipes may use: flags that are empty where they do not belong."""
        return {
            "cpu": Computed(lambda: Flags("" if self.has_gpu else "--cpu")),
            "autocast": Computed(lambda: Flags("--bf16-autocast" if self.autocast_pays else "")),
        }

    def lanes(self, steps: Iterable[Step]) -> int:
        """Return how many of the steps run side by side.

        On a CPU two: small models use one thread much better than two. On a GPU one. Only trainings make it
        worth asking: without one, nothing fills a GPU for long, and a recipe of quick commands need not wait
        for torch.
        """
        if self.threads < 2 or (any("fairseq-train" in step.command for step in steps) and self.has_gpu):
            return 1
        return 2


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


def _programs() -> str:
    return os.path.dirname(sys.executable)


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a command that computes with so many threads."""
    given = {name: os.environ.get(name, value) for name, value in VARIABLES.items()}
    path = os.pathsep.join((_programs(), os.environ.get("PATH", os.defpath)))
    return {**os.environ, **given, "PATH": path, "OMP_NUM_THREADS": str(threads)}


def shell_lines(steps: dict[str, Step], threads: dict[str, int]) -> Iterator[str]:
    """Yield lines of bash that do what the run does in a new folder, one step after the other.

    Temporary outputs stay.

    Args:
        steps: in an order in which they can run.
        threads: step -> how many it computes with.
    """
    yield "set -euo pipefail"
    yield f'export PATH={shlex.quote(_programs())}:"$PATH"'
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
