"""Steps: what a recipe comes to with the values of its settings, and which step reads what another makes."""

from __future__ import annotations

import graphlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.expressions import Scope
from cmlm_kd.recipes.reading import VERSIONS, Recipe, StepText


@dataclass
class Step:
    """A step that can run.

    Attributes:
        name: of the step in the recipe, and the values of its loops after ``@``.
        title: what the screen calls it.
        command: what bash runs.
        absolute_command: the same command with absolute paths: another one makes the step run again.
        inputs: absolute paths of what it reads.
        outputs: absolute paths of what it makes.
        temporary: those that are removed once every step that reads them is done.
        versions: packages whose version it depends on.
        place: its first output, relative to the run's folder. It names record and log, so that what
            other settings have made elsewhere in the folder stays known.
        after: names of the steps that it waits for without reading anything of them, as they are written.
        lane: see :class:`StepText`.
        before: names of the steps that come before it: those that make its inputs, ``after``, and the
            one before it in its lane.
        reads: path of an input -> names of the steps that make it, or what is in it.
        text: the step as it is written.
    """

    name: str
    title: str
    command: str
    absolute_command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    temporary: tuple[str, ...]
    versions: tuple[str, ...]
    place: str
    after: tuple[str, ...]
    lane: str
    text: StepText
    before: list[str] = field(default_factory=list)
    reads: dict[str, list[str]] = field(default_factory=dict)

    @property
    def sources(self) -> set[str]:
        """Names of the steps whose outputs it reads."""
        return {name for names in self.reads.values() for name in names}


def make_steps(recipe: Recipe, known: Mapping[str, Any], folder: Path, shown: str) -> dict[str, Step]:
    """Return the steps of a recipe by name, in an order in which they can run.

    Args:
        recipe: as it was read.
        known: values of its settings, and what is known of the machine.
        folder: the run's, absolute.
        shown: the same as it stands in commands.

    Raises:
        UserError: an expression is wrong, two steps have one output, an input is made by no step and is not
            there, or steps wait for each other in a circle.
    """
    scopes = [
        Scope(recipe.file, {**known, "run": run}, recipe.values, recipe.flags, absolute=absolute)
        for run, absolute in ((shown, False), (str(folder), True))
    ]
    for condition, message in recipe.checks:
        if not scopes[0].value(condition, "checks"):
            raise UserError(f"{recipe.file}: {scopes[0].value(message, 'checks')}")
    steps: dict[str, Step] = {}
    for name, text in recipe.steps.items():
        for step in _expanded(recipe.file, name, text, scopes, folder):
            if step.name in steps:
                raise UserError(
                    f"{recipe.file}: steps.{name}: two steps are called {step.name}; change 'for'"
                )
            steps[step.name] = step
    if not steps:
        raise UserError(f"{recipe.file}: no step is left with these settings")
    _connect(recipe, steps)
    return _in_order(recipe.file, steps)


def _expanded(file: str, name: str, text: StepText, scopes: list[Scope], folder: Path) -> Iterator[Step]:
    """Yield the step for each combination of its loops; the scopes are for commands and for paths."""
    where = f"steps.{name}"
    for chosen, label in _combinations(file, text.loops, scopes[1], where):
        inner = [Scope(file, chosen, text.values, {}, outer=scope) for scope in scopes]
        if not inner[1].value(text.when, f"{where}.when"):
            continue
        command, absolute_command = (
            "\n".join(scope.command(line, f"{where}.run") for line in text.run) for scope in inner
        )
        inputs, outputs, temporary = (
            tuple(_paths(getattr(text, part), inner[1], f"{where}.{part}", folder, names=part == "inputs"))
            for part in ("inputs", "outputs", "temporary")
        )
        _check_outputs(file, where, outputs, temporary, folder)
        yield Step(
            name="@".join([name, *label]),
            title=str(inner[0].value(text.title, f"{where}.title")),
            command=command,
            absolute_command=absolute_command,
            inputs=inputs,
            outputs=outputs,
            temporary=temporary,
            versions=tuple(dict.fromkeys((*VERSIONS, *text.versions))),
            place=os.path.relpath(outputs[0], folder),
            lane=str(inner[0].value(text.lane, f"{where}.lane")),
            after=tuple(str(inner[0].value(item, f"{where}.after")) for item in text.after),
            text=text,
        )


def _combinations(
    file: str, loops: dict[str, Any], scope: Scope, where: str
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield names with values, and what to call these."""
    if not loops:
        yield {}, []
        return
    (name, written), *others = loops.items()
    found = scope.value(written, f"{where}.for.{name}")
    if not isinstance(found, list):
        raise UserError(f"{file}: {where}.for.{name} is {found!r}; it must be a list")
    for position, value in enumerate(found):
        label = re.sub(r"[^\w.+-]+", "-", str(value)).strip("-") if not isinstance(value, list | dict) else ""
        label = label if label and len(label) <= 40 else str(position)
        inner = Scope(file, {name: value}, {}, {}, outer=scope)
        for more, labels in _combinations(file, dict(others), inner, where):
            yield {name: value, **more}, [label, *labels]


def _paths(written: Iterable[Any], scope: Scope, where: str, folder: Path, *, names: bool) -> Iterator[str]:
    """Yield absolute paths; leave out what is empty, and names of models on a hub where there may be any.

    Such a name comes from an expression; an input that is written as it is may have the same name.
    """
    for item in written:
        found = scope.value(item, where)
        for path in found if isinstance(found, list) else [found]:
            if path and not (names and path != item and scope.is_model_name(str(path))):
                yield os.path.normpath(folder / str(path))


def _check_outputs(
    file: str, where: str, outputs: tuple[str, ...], parts: Iterable[str], folder: Path
) -> None:
    if not outputs:
        raise UserError(f"{file}: {where}: outputs are all empty; a step makes a file or directory")
    for path in outputs:
        if not is_inside(path, str(folder)) or path == str(folder):
            raise UserError(f"{file}: {where}: output {path} is not in the run's folder, {folder}")
    for path in parts:
        if not any(path == output or is_inside(path, output) for output in outputs):
            raise UserError(f"{file}: {where}: {os.path.relpath(path, folder)} is none of its outputs")


def is_inside(path: str, other: str) -> bool:
    """Return whether a path lies in the directory ``other``."""
    return path.startswith(other + os.sep)


def _connect(recipe: Recipe, steps: dict[str, Step]) -> None:
    """Find out for every step which others come before it."""
    makers: dict[str, str] = {}
    for step in steps.values():
        for path in step.outputs:
            if path in makers:
                raise UserError(
                    f"{recipe.file}: {path} is an output of two steps, {makers[path]} and {step.name}"
                )
            makers[path] = step.name
    lanes: dict[str, str] = {}
    for step in steps.values():
        for path in step.inputs:
            step.reads[path] = _makers_of(path, makers, step.name)
            if not step.reads[path] and not os.path.exists(path):
                raise UserError(
                    f"{recipe.file}: {step.name} reads {path}, which no step makes and which does not exist; "
                    "give a path that is there"
                )
        step.before = sorted(step.sources, key=list(steps).index)
        for name in step.after:
            step.before += _called(name, steps) or _unknown(recipe.file, step.name, name, steps)
        if step.lane:
            step.before += [lanes[step.lane]] if step.lane in lanes else []
            lanes[step.lane] = step.name


def _makers_of(path: str, makers: dict[str, str], reader: str) -> list[str]:
    """Return the step that makes a path or a directory around it, or those that make what is in it."""
    others = {output: name for output, name in makers.items() if name != reader}
    around = [output for output in others if path == output or is_inside(path, output)]
    if around:
        return [others[max(around, key=len)]]
    return list(dict.fromkeys(name for output, name in others.items() if is_inside(output, path)))


def _called(name: str, steps: Iterable[str]) -> list[str]:
    """Return the steps with a name, or with a name and anything after ``@``."""
    return [step for step in steps if step == name or step.startswith(f"{name}@")]


def _unknown(file: str, reader: str, name: str, steps: Iterable[str]) -> list[str]:
    raise UserError(f"{file}: {reader} comes after {name!r}, which is no step; there are {', '.join(steps)}")


def _in_order(file: str, steps: dict[str, Step]) -> dict[str, Step]:
    """Return the steps so that each comes after those before it, otherwise in the order of the file."""
    try:
        graphlib.TopologicalSorter({step.name: step.before for step in steps.values()}).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise UserError(
            f"{file}: steps wait for each other: {circle}; take one of their inputs away"
        ) from None
    ordered: dict[str, Step] = {}

    def add(step: Step) -> None:
        for name in step.before:
            if name not in ordered:
                add(steps[name])
        ordered.setdefault(step.name, step)

    for step in steps.values():
        add(step)
    return ordered


def up_to(steps: dict[str, Step], until: str | None) -> dict[str, Step]:
    """Return the steps that ``until`` needs, itself included; all of them for None.

    Raises:
        UserError: there is no such step.
    """
    if until is None:
        return steps
    wanted = _called(until, steps)
    if not wanted:
        raise UserError(f"there is no step {until!r}; there are {', '.join(steps)}")
    for name in wanted:  # which grows
        wanted += [other for other in steps[name].before if other not in wanted]
    return {name: step for name, step in steps.items() if name in wanted}
