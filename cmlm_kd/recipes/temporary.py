"""Temporary outputs: removed once every step that reads them is done, and made again when one has to run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from cmlm_kd.recipes.steps import Step, is_inside


class Temporaries:
    """The temporary outputs of a recipe.

    Args:
        steps: in an order in which they can run.

    Attributes:
        wanted: steps that must run again, because a step that will run reads what was removed.
    """

    def __init__(self, steps: dict[str, Step]) -> None:
        self._steps = steps
        self._done: set[str] = set()
        self._readers: dict[str, set[str]] = {
            path: {reader.name for reader in steps.values() if _reads(reader, step.name, path)}
            for step in steps.values()
            for path in step.temporary
        }
        self.wanted: set[str] = set()

    def find_missing(self, may_run: Callable[[Step], bool]) -> None:
        """Fill :attr:`wanted`.

        Args:
            may_run: whether a step will run even if those before it make what they made before.
        """
        if all(os.path.exists(path) for path in self._readers):
            return
        running = {step.name for step in self._steps.values() if may_run(step)}
        while True:
            for step in self._steps.values():  # whatever follows may run, too
                if step.sources & running:
                    running.add(step.name)
            more = {
                step.name
                for step in self._steps.values()
                for path in step.temporary
                if not os.path.exists(path) and self._readers[path] & running
            }
            if more <= running:
                break
            running |= more
        self.wanted = {step.name for step in self._steps.values() if step.temporary} & running

    def done(self, name: str) -> None:
        """Note that a step is done; remove what nobody reads any more."""
        self._done.add(name)
        for path, readers in self._readers.items():
            if name in readers and readers <= self._done and os.path.lexists(path):
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _reads(reader: Step, maker: str, path: str) -> bool:
    return any(
        maker in makers and (path == read or is_inside(path, read) or is_inside(read, path))
        for read, makers in reader.reads.items()
    )
