"""Recipe files: YAML, read strictly into a :class:`Recipe`."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.recipes.settings import Setting, read_setting
from cmlm_kd.system.environment import FAIRSEQ_BUILDS

VERSIONS = ("cmlm-kd", "torch", "transformers", *FAIRSEQ_BUILDS)
"""Packages whose version every step depends on."""


@dataclass(frozen=True)
class StepText:
    """A step as it is written; a step with ``for`` stands for several.

    Attributes:
        title: what the screen calls it.
        run: its commands, in bash.
        outputs: files and directories that it makes, in the run's folder.
        inputs: what it reads: in the run's folder, or anywhere with an absolute path.
        loops: name -> list of values: a step for each combination.
        when: makes no step where it is false.
        values: names for this step alone.
        temporary: outputs that are removed once every step that reads them is done.
        resumes: ``no``; ``unfinished``: its command goes on in what an interruption left; ``always``: and
            mends what was damaged after the end.
        after: steps that it waits for without reading anything of them.
        lane: a name; steps with the same one run one after the other, since a setting may name a cache that
            the first of them writes.
        exclusive: whether nothing else runs at the same time.
        show: whether what it prints is shown at the end of the run, and not before.
        versions: packages whose version it depends on, besides :data:`VERSIONS`.
    """

    title: str
    run: tuple[str, ...]
    outputs: tuple[Any, ...]
    inputs: tuple[Any, ...] = ()
    loops: dict[str, Any] = field(default_factory=dict)
    when: Any = True
    values: dict[str, Any] = field(default_factory=dict)
    temporary: tuple[Any, ...] = ()
    resumes: str = "no"
    after: tuple[Any, ...] = ()
    lane: str = ""
    exclusive: bool = False
    show: bool = False
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A recipe as it is written, with what it includes.

    Attributes:
        file: its path, as messages show it.
        name: what a run's folder is known by.
        output: the run's folder where the user names none; an expression.
        settings: by name.
        values: name -> expression.
        flags: name -> part of a command.
        checks: conditions on several settings: an expression, and the message where it is false.
        steps: by name.
    """

    file: str
    name: str
    output: str
    settings: dict[str, Setting]
    values: dict[str, Any]
    flags: dict[str, str]
    checks: tuple[tuple[str, str], ...]
    steps: dict[str, StepText]


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Refuses a key that is there twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_recipe(path: Path) -> Recipe:
    """Return the recipe of a file, merged with those that it includes.

    Raises:
        UserError: the file is missing or no YAML, or has a key, a type or a name that does not belong there.
    """
    document = _read(path, ())
    for key in ("name", "output", "steps"):
        if not document.get(key):
            raise UserError(f"{path}: {key} is missing; see docs/recipes.md")
    return Recipe(
        str(path),
        str(document["name"]),
        str(document["output"]),
        document["settings"],
        document["values"],
        document["flags"],
        tuple(document["checks"]),
        document["steps"],
    )


_MAPPINGS = ("settings", "values", "flags", "steps")


def _read(path: Path, including: tuple[Path, ...]) -> dict[str, Any]:
    """Return a file's document, its parts checked, after what it includes."""
    if path.resolve() in including:
        raise UserError(f"{path} includes itself; take it out of include")
    written = _load(path)
    allowed = ("name", "output", "include", "when", *_MAPPINGS, "checks")
    for key in written:
        if key not in allowed:
            raise UserError(f"{path}: there is no {key!r}; a recipe has {', '.join(allowed)}")
    document: dict[str, Any] = {part: {} for part in _MAPPINGS} | {"checks": []}
    for name in _list(written.get("include")):
        other = _read(path.parent / name, (*including, path.resolve()))
        for part in _MAPPINGS:
            document[part].update(other[part])
        document["checks"] += other["checks"]
    document |= {key: written[key] for key in ("name", "output") if key in written}
    for part in _MAPPINGS:
        if not isinstance(written.get(part) or {}, dict):
            raise UserError(f"{path}: {part} must be names with what they stand for")
        for name, item in (written.get(part) or {}).items():
            if part == "steps" and "when" in written and isinstance(item, dict):
                item = {"when": written["when"], **item}
            document[part][str(name)] = _checked(part, item, f"{path}: {part}.{name}")
    for item in written.get("checks") or []:
        if not isinstance(item, dict) or set(item) != {"that", "else"}:
            raise UserError(f"{path}: a check has 'that', a condition, and 'else', a message; it is {item!r}")
        document["checks"].append((item["that"], item["else"]))
    return document


def _load(path: Path) -> dict[str, Any]:
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; give the path of a recipe, such as examples/translation/numbers.yaml"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory; give the path of a recipe") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({first_line(error)})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: {getattr(error, 'problem', None) or first_line(error)}") from None
    if not isinstance(written, dict):
        raise UserError(f"{path} is not a recipe: it must have name, output, settings and steps")
    return written


def _checked(part: str, item: Any, where: str) -> Any:
    if part == "settings":
        return read_setting(item, where)
    if part == "steps":
        return _step(item, where)
    if part == "flags" and not isinstance(item, str):
        raise UserError(f"{where} is {item!r}; it must be a text, part of a command")
    return item


_STEP = {
    "title": str,
    "for": dict,
    "when": None,
    "values": dict,
    "inputs": list,
    "run": list,
    "outputs": list,
    "temporary": list,
    "resumes": None,
    "after": list,
    "lane": str,
    "exclusive": bool,
    "show": bool,
    "versions": list,
}
"""The keys of a step in their usual order; one item stands for a list of one."""


_RESUMES = ("no", "unfinished", "always")


def _step(item: Any, where: str) -> StepText:
    if not re.fullmatch(r"[\w.+-]+", where.rpartition("steps.")[2]):
        raise UserError(f"{where}: a step's name has letters, digits, . + - and _ alone")
    if not isinstance(item, dict):
        raise UserError(f"{where} is {item!r}; a step has {', '.join(_STEP)}")
    given: dict[str, Any] = {}
    for key, value in item.items():
        if key not in _STEP:
            raise UserError(f"{where}: there is no {key!r}; a step has {', '.join(_STEP)}")
        kind = _STEP[key]
        value = tuple(_list(value)) if kind is list else value
        if kind not in (None, list) and not isinstance(value, kind):
            words = {dict: "names with values", str: "a text", bool: "true or false"}[kind]
            raise UserError(f"{where}: {key} is {value!r}; it must be {words}")
        given["loops" if key == "for" else key] = value
    for key in ("title", "run", "outputs"):
        if not given.get(key):
            raise UserError(f"{where}: {key} is missing; a step has a title, something to run, and outputs")
    if not all(isinstance(command, str) for command in given["run"]):
        raise UserError(f"{where}: run must be commands; put one with a colon into quotes or after >-")
    if given.get("resumes", "no") not in _RESUMES:
        raise UserError(
            f"{where}: resumes is {given['resumes']!r}; it must be unfinished or always, or left out"
        )
    return StepText(**given)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
