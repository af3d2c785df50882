"""The engine: doit runs the steps whose command, inputs or versions changed, and all that follows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doit.control import TaskControl
from doit.exceptions import BaseFail, TaskFailed
from doit.reporter import ZeroReporter
from doit.runner import MThreadRunner
from doit.task import Task

from cmlm_kd.errors import UserError, os_error_message
from cmlm_kd.recipes.machine import environment
from cmlm_kd.recipes.outputs import Outputs
from cmlm_kd.recipes.processes import Gate, Processes, Screen
from cmlm_kd.recipes.records import Contents, Records, checksums
from cmlm_kd.recipes.run_folder import note_time, package_versions
from cmlm_kd.recipes.steps import Step, is_inside


class Engine:
    """One run.

    Args:
        folder: the run's, absolute.
        steps: all of the recipe, in an order in which they can run.
        threads: step -> how many it computes with.
        lock: descriptor of the folder's lock.
    """

    def __init__(self, folder: Path, steps: dict[str, Step], threads: dict[str, int], lock: int) -> None:
        self._folder = folder
        self._steps = steps
        self._threads = threads
        self._by_place = {step.place: step for step in steps.values()}
        self._records = Records(folder)
        self._contents = Contents()
        self._processes = Processes(lock)
        self._screen = Screen()
        self._gate = Gate()
        self._outputs = Outputs(folder, steps, self._records)
        self._temporaries = Temporaries(steps, self._outputs)
        self._begins_with: dict[str, dict[str, Any]] = {}  # step -> what it is made from now
        self._failure: UserError | None = None

    def run(self, selected: dict[str, Step], lanes: int) -> None:
        """Run the steps that are not done, as many side by side as there are lanes.

        Raises:
            UserError: a step failed, and the end of what it said is on standard error; or something that no
                step has made is where one writes, and none has begun.
            KeyboardInterrupt: after all commands have ended.
        """
        self._outputs.check(selected.values())
        self._temporaries.find_missing(selected, self._may_run)
        control = TaskControl([self._task(step) for step in selected.values()])
        control.process([step.place for step in selected.values()])
        runner = MThreadRunner(self._records, _Reporter(self), num_process=min(lanes, len(selected)))
        try:
            runner.run_all(control.task_dispatcher())
        except BaseException:
            self._processes.end_all()
            raise
        finally:
            self._processes.close()
        if self._failure is not None:
            raise self._failure
        for step in selected.values():
            if step.text.show:
                self._screen.show(step.title, self._log(step))

    def _task(self, step: Step) -> Task:
        return Task(
            step.place,  # by which the records know it
            [(self._perform, [step])],
            uptodate=[(self._is_done, [step])],
            task_dep=[self._steps[name].place for name in step.before],
            verbosity=0,
            io={"capture": False},
        )

    # Whether a step is done

    def _is_done(self, step: Step) -> bool:
        """Return whether a step was made from what it would be made from now, and its outputs are whole."""
        state = self._state(step)
        self._begins_with[step.name] = state
        record = self._records.finished(step.place)
        return (
            step.name not in self._temporaries.wanted
            and _same(record, state)
            and self._is_whole(step, record)
        )

    def _may_run(self, step: Step) -> bool:
        """Return whether a step will run even if those before it make what they made before."""
        record = self._records.finished(step.place)
        try:
            return not _same(record, self._state(step)) or not self._is_whole(step, record)
        except UserError:  # an input has not been made yet
            return True

    def _state(self, step: Step) -> dict[str, Any]:
        """Return what a step is made from: command, versions, and the checksums of inputs."""
        record = self._records.finished(step.place)
        for path, files in record.get("inputs", {}).items():
            self._contents.remember(path, files)
        inputs = {path: self._input(step, path) for path in step.inputs}
        return {
            "command": step.absolute_command,
            "versions": package_versions(step.versions),
            "inputs": inputs,
        }

    def _input(self, step: Step, path: str) -> dict[str, Any]:
        """Return the files of an input: those that the steps before left there, or all that are there."""
        if not step.reads[path]:
            return self._contents.of(path)
        found = {}
        for name in step.reads[path]:
            for output, files in self._records.finished(self._steps[name].place).get("outputs", {}).items():
                for inner, entry in files.items():
                    file = os.path.join(output, inner) if inner else output
                    if file == path or is_inside(file, path):
                        found["" if file == path else os.path.relpath(file, path)] = entry
        found = found or self._contents.of(path)  # what the user has put there
        if not found:
            raise UserError(
                f"step {step.name} reads {path}, but {', '.join(step.reads[path])} did not make it"
            )
        return found

    def _is_whole(self, step: Step, record: dict[str, Any]) -> bool:
        if step.text.show and not self._log(step).is_file():
            return False
        outputs = record.get("outputs", {})
        return set(outputs) == set(step.outputs) and all(
            self._contents.are(path, files, step.temporary) for path, files in outputs.items()
        )

    def _log(self, step: Step) -> Path:
        return self._folder / "logs" / f"{step.place}.log"

    # Running a step

    def _perform(self, step: Step) -> dict[str, Any] | BaseFail:
        """Run a step; called by doit in a thread of its own."""
        with self._gate.passed(alone=step.text.exclusive):
            try:
                return self._run_command(step)
            except UserError as error:
                return TaskFailed(str(error))
            except OSError as error:
                message = os_error_message(error)
                if message is None:
                    raise
                return TaskFailed(message)

    def _run_command(self, step: Step) -> dict[str, Any] | BaseFail:
        state = self._begins_with[step.name]
        log = self._log(step)
        begun = time.monotonic()
        self._screen.say(self._prepared(step, state, log))
        status = self._processes.run(
            step.command,
            environment(self._threads[step.name]),
            log,
            lambda line: None if step.text.show else self._screen.progress(step.name, step.command, line),
        )
        if status:
            return TaskFailed(f"step {step.name} failed with status {status}")
        nested = frozenset(
            output for other in self._steps.values() for output in other.outputs if other is not step
        )
        outputs = {path: self._contents.of(path, nested) for path in step.outputs}
        missing = [path for path in step.outputs if not os.path.exists(path)]
        if missing:
            return TaskFailed(f"step {step.name} did not make {', '.join(missing)}")
        note_time(self._folder, time.monotonic() - begun, step.title)
        return {**state, "outputs": outputs}

    def _prepared(self, step: Step, state: dict[str, Any], log: Path) -> str:
        """Put old outputs aside unless the step goes on in them; return what to tell the user."""
        record = self._records.finished(step.place)
        begun = self._records.begun(step.place)
        unfinished = begun == _identity(state)
        mends = step.text.resumes == "always" and begun is None and _same(record, state)
        there = self._outputs.there(step)
        text = step.title
        if there and (mends or (unfinished and step.text.resumes != "no")):
            text = f"{step.title}: goes on in what is there"
        else:
            why = self._why_again(step, record, state)
            log.unlink(missing_ok=True)
            old = [self._outputs.put_aside(path) for path in there]
            if old and not unfinished:
                text = f"{step.title}: again, {why}; what was there is in {', '.join(old)}"
        for path in step.outputs:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        self._records.begin(step.place, _identity(state))
        return text

    def _why_again(self, step: Step, record: dict[str, Any], state: dict[str, Any]) -> str:
        damaged = self._records.damaged(step.place)
        if damaged is not None:
            return f"its record {damaged} is damaged"
        if not record and self._records.begun(step.place) is None:
            return "no record says what made it"
        if not _same(record, state):
            return "it was made from something else"
        if self._is_whole(step, record):
            return "a temporary output of it was removed and is needed again"
        return "it is damaged"

    # What doit reports

    def succeeded(self, place: str, *, now: bool) -> None:
        """Note that a step is done, in this run or before."""
        step = self._by_place[place]
        if not now:
            self._screen.say(f"{step.title}: already there")
        self._temporaries.done(step.name)

    def failed(self, place: str, failure: BaseFail) -> None:
        """End what else is running, and keep what to tell the user."""
        if self._failure is not None:
            return  # ended because of the first
        log = self._log(self._by_place[place])
        self._processes.end_all()
        self._screen.end_of(log)
        self._failure = UserError(
            f"{failure.get_msg().strip()}; all that it said is in {log}; when the cause is mended, the same "
            "command goes on from there"
        )


def _identity(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with checksums alone of its inputs."""
    inputs = {path: checksums(files) for path, files in state["inputs"].items()}
    return {"command": state["command"], "versions": state["versions"], "inputs": inputs}


def _same(record: dict[str, Any], state: dict[str, Any]) -> bool:
    return bool(record) and _identity(record) == _identity(state)


class _Reporter(ZeroReporter):  # type: ignore[misc]  # doit has no types
    """Passes on what doit reports."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(None, {})
        self._engine = engine

    def add_success(self, task: Task) -> None:
        self._engine.succeeded(task.name, now=True)

    def skip_uptodate(self, task: Task) -> None:
        self._engine.succeeded(task.name, now=False)

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        self._engine.failed(task.name, fail)


class Temporaries:
    """The temporary outputs of a recipe.

    Args:
        steps: all of the recipe.
        outputs: of these steps.

    Attributes:
        wanted: steps that must run again, because a step that will run reads what was removed.
    """

    def __init__(self, steps: dict[str, Step], outputs: Outputs) -> None:
        self._outputs = outputs
        self._makers = {path: step for step in steps.values() for path in step.temporary}
        self._done: set[str] = set()
        self._readers: dict[str, set[str]] = {
            path: {reader.name for reader in steps.values() if _reads(reader, step.name, path)}
            for step in steps.values()
            for path in step.temporary
        }
        self.wanted: set[str] = set()

    def find_missing(self, selected: dict[str, Step], may_run: Callable[[Step], bool]) -> None:
        """Fill :attr:`wanted`.

        Args:
            selected: the steps of this run, in an order in which they can run.
            may_run: whether a step will run even if those before it make what they made before.
        """
        missing = {path for path, maker in self._makers.items() if self._outputs.is_missing(maker, path)}
        if not missing:
            return
        running = {step.name for step in selected.values() if may_run(step)}
        while True:
            for step in selected.values():  # whatever follows may run, too
                if step.sources & running:
                    running.add(step.name)
            more = {
                step.name
                for step in selected.values()
                for path in step.temporary
                if path in missing and self._readers[path] & running
            }
            if more <= running:
                break
            running |= more
        self.wanted = {step.name for step in selected.values() if step.temporary} & running

    def done(self, name: str) -> None:
        """Note that a step is done; remove what its maker left there and nobody reads any more."""
        self._done.add(name)
        for path, readers in self._readers.items():
            if name in readers and readers <= self._done and os.path.lexists(path):
                self._outputs.remove(self._makers[path], path)


def _reads(reader: Step, maker: str, path: str) -> bool:
    return any(
        maker in makers and (path == read or is_inside(path, read) or is_inside(read, path))
        for read, makers in reader.reads.items()
    )
