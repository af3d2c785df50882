"""The commands of a run, to read or to paste into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from cmlm_kd.recipes.machine import VARIABLES
from cmlm_kd.recipes.steps import Step


def shell_lines(steps: dict[str, Step], threads: dict[str, int]) -> Iterator[str]:
    """Yield lines of bash that do what the run does, one step after the other.

    Args:
        steps: in an order in which they can run.
        threads: step -> how many it computes with.
    """
    yield "set -e"
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
