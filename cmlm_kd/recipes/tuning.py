"""Tuning: one step of a recipe, a training, with other values of its settings, as far as each is worth it.

The step names its folder and its last update in values of its own, ``folder`` and ``most``. A trial is the
same step with another folder and its own settings; on each rung it is run with another ``most`` and goes on
from its last checkpoint. What the step reads, data and soft targets, is made once, by the recipe.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.expressions import Scope
from cmlm_kd.recipes.machine import environment
from cmlm_kd.recipes.processes import Processes
from cmlm_kd.recipes.reading import Recipe
from cmlm_kd.recipes.search_space import SearchSpace, as_flags, shown
from cmlm_kd.recipes.steps import Step, make_steps
from cmlm_kd.recipes.study import Study, TrialRecord
from cmlm_kd.system.files import written_aside

FOLDER = "tune"
"""In the run's folder: trials, the study and its table."""

LOG = "train.log"
"""In a trial's folder, written by its training."""


@dataclasses.dataclass(frozen=True)
class TunedStep:
    """A training step, and how it is made with other values.

    Attributes:
        recipe: as it was read.
        known: values of its settings, and what is known of the machine.
        folder: the run's, absolute.
        shown: the same as it stands in commands.
        made: its steps with the values that they have without tuning.
        name: of the step.
    """

    recipe: Recipe
    known: Mapping[str, Any]
    folder: Path
    shown: str
    made: dict[str, Step]
    name: str

    def __post_init__(self) -> None:
        text = self.recipe.steps.get(self.name)
        if text is None:
            raise UserError(
                f"{self.recipe.file} has no step {self.name!r}; it has {', '.join(self.recipe.steps)}"
            )
        missing = [name for name in ("folder", "most") if name not in text.values]
        if missing:
            raise UserError(
                f"{self.recipe.file}: step {self.name} cannot be tuned: it must be a training whose values "
                f"name its folder and the updates after which it ends, most (missing: {', '.join(missing)}); "
                "see docs/tuning.md"
            )

    @property
    def first(self) -> str:
        """Name of the step as it was made; of several trainings, as of several seeds, the first is tuned."""
        return next(name for name in self.made if name.partition("@")[0] == self.name)

    @property
    def shared(self) -> dict[str, Step]:
        """The steps whose outputs all trials share, in an order in which they can run."""
        needed = {self.first}
        for step in reversed(self.made.values()):
            if step.name in needed:
                needed.update(step.before)
        return {name: step for name, step in self.made.items() if name in needed - {self.first}}

    @property
    def most(self) -> int:
        """Updates of the whole training."""
        found = self._scope.value(
            self.recipe.steps[self.name].values["most"], f"steps.{self.name}.values.most"
        )
        if not isinstance(found, int) or found < 1:
            raise UserError(f"{self.recipe.file}: step {self.name}: most is {found!r}; it must be a number")
        return found

    @property
    def _scope(self) -> Scope:
        return Scope(self.recipe.file, {**self.known, "run": self.shown}, self.recipe.values, {})

    def steps(self, values: Mapping[str, Any], folder: str, updates: int) -> dict[str, Step]:
        """Return the step with these values of settings, which trains in ``folder``, and those it needs."""
        text = self.recipe.steps[self.name]
        own = {**text.values, "folder": folder, "most": updates}
        for loop, written in text.loops.items():
            own[loop] = self._scope.value(written, f"steps.{self.name}.for.{loop}")[0]
        changed = dataclasses.replace(text, values=own, loops={})
        needed = {name.partition("@")[0] for name in self.shared}
        steps = {name: step for name, step in self.recipe.steps.items() if name in needed}
        recipe = dataclasses.replace(self.recipe, steps={**steps, self.name: changed})
        return make_steps(recipe, {**self.known, **values}, self.folder, self.shown)

    def check(self, space: SearchSpace) -> None:
        """Refuse settings that change what trials are to share, or nothing at all.

        Raises:
            UserError: naming the setting and the step.
        """
        base = self.steps(space.first(), "a", 1)
        if self.steps(space.first(), "a", 2)[self.name].command == base[self.name].command:
            raise UserError(
                f"{self.recipe.file}: step {self.name} does not end after 'most' updates with these "
                "settings; leave out --set updates=..."
            )
        for name, values in zip(space.names, space.others(), strict=True):
            others = self.steps(values, "a", 1)
            for step in self.shared:
                if step not in others or others[step].absolute_command != base[step].absolute_command:
                    raise UserError(
                        f"--vary {name} changes step {step}, whose outputs all trials share; choose it by "
                        "runs of their own, and give it with --set"
                    )
            if others[self.name].command == base[self.name].command:
                raise UserError(f"--vary {name} changes nothing of step {self.name}; leave it out")


class Tuning:
    """The trials of one tuned step.

    Args:
        step: what is tuned.
        study: its trials.
        rungs: after how many updates they are compared.
        measure: a trial's log -> what its validation gave.
        processes: runs commands.
        threads: that a training computes with.
        say: tells the user a line.
    """

    def __init__(
        self,
        step: TunedStep,
        study: Study,
        rungs: tuple[int, ...],
        measure: Callable[[Path], float],
        processes: Processes,
        threads: int,
        say: Callable[[str], None],
    ) -> None:
        self._step, self._study, self._rungs, self._measure = step, study, rungs, measure
        self._processes, self._threads, self._say = processes, threads, say
        self.seconds = 0.0

    def run(self, budget: int) -> None:
        """Run trials until all were tried or the next stage would cost more than is left of the budget.

        Raises:
            UserError: a training failed, or its log has no such measure.
        """
        while (trial := self._study.next_trial()) is not None:
            record = self._study.record_of(trial)
            for updates in [rung for rung in self._rungs if rung > record.updates]:
                cost = updates - self._study.record_of(trial).updates
                if self._study.spent + cost > budget:
                    return
                state = self._stage(trial, record, updates)
                self.write_table()
                if state != "running":
                    break

    def _stage(self, trial: Any, record: TrialRecord, updates: int) -> str:
        place = f"{FOLDER}/trial-{record.number:03}"
        folder = self._step.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        command = self._step.steps(record.values, place, updates)[self._step.name].command
        begun = time.monotonic()
        log = folder / "output.log"
        status = self._processes.run(command, environment(self._threads), log, lambda line: None)
        self.seconds += time.monotonic() - begun
        if status:
            raise UserError(
                f"trial {record.number} ({as_flags(record.values)}) failed with status {status}; all that it "
                f"said is in {log}; when the cause is mended, the same command goes on from there"
            )
        value = self._measure(folder / LOG)
        state = self._study.report(trial, updates, value)
        self._say(
            f"trial {record.number} ({as_flags(record.values)}): {value:g} after {updates:,} updates, {state}"
        )
        if state == "pruned":  # nobody goes on from it
            for checkpoint in folder.glob("*.pt"):
                checkpoint.unlink()
        return state

    def write_table(self) -> Path:
        """Write what every trial reached as tab-separated lines; return the file."""
        path = self._step.folder / FOLDER / "trials.tsv"
        with written_aside(path) as partial:
            partial.write_text("".join("\t".join(row) + "\n" for row in self.rows()), encoding="utf-8")
        return path

    def rows(self) -> list[list[str]]:
        """Return a row of headings and one for each trial."""
        records = self._study.records
        names = list(dict.fromkeys(name for record in records for name in record.values))
        rows = [["trial", *names, *(f"after {rung}" for rung in self._rungs), "updates", "state"]]
        for record in records:
            reached = [f"{record.reached[rung]:g}" if rung in record.reached else "" for rung in self._rungs]
            values = [shown(record.values[name]) for name in names]
            rows.append([str(record.number), *values, *reached, str(record.updates), record.state])
        return rows


def best_of(records: list[TrialRecord], *, maximize: bool) -> TrialRecord | None:
    """Return the trial that reached the best value, of equal ones that after most updates; None without any.

    A budget may end before the better trial is as far as another: more updates would not make it worse, for
    a trial's value is the best of its validations.
    """
    sign = 1.0 if maximize else -1.0
    compared = [record for record in records if record.updates]
    return max(compared, key=lambda each: (sign * each.reached[each.updates], each.updates), default=None)
