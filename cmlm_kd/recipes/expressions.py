"""Expressions in recipes: names and small computations between double braces, by Jinja's sandbox."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.runtime
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cmlm_kd.errors import UserError, first_line

_WHOLE = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", re.DOTALL)
_NOTHING = "\0"
"""Stands in a command for an expression without words, until the blank before it is taken away too."""


class Flags(str):
    """A part of a command: words of a shell, quoted where they need it."""

    __slots__ = ()


class Computed:
    """A value that is computed when an expression asks for it.

    Args:
        compute: returns it.
    """

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


class GivenPath:
    """A path, or the name of a model on a hub, as the user wrote it.

    Attributes:
        text: what was written, relative to the folder that the user was in.
        may_be_name: whether it may be that of a model on a hub.
        is_there: whether it is a file or directory.
    """

    def __init__(self, text: str, *, may_be_name: bool = False) -> None:
        self.text = text
        self.may_be_name = may_be_name
        self.is_there = os.path.exists(text)

    def __str__(self) -> str:
        return self.text

    def absolute(self) -> str:
        """Return the absolute path, or the name as it is where nothing has this path."""
        return os.path.abspath(self.text) if self.is_there or not self.may_be_name else self.text


def _as_words(value: object) -> str:
    """Return a value as it stands in a command: quoted where a shell would not take it as one word."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # which raises
    if isinstance(value, Flags):
        return str(value) or _NOTHING
    if isinstance(value, list | tuple):
        return " ".join(map(_as_words, value)) or _NOTHING
    return _NOTHING if value is None or value == "" else shlex.quote(str(value))


def _slug(text: str) -> str:
    """Return a text as part of a file's name, at most 120 characters long."""
    name = re.sub(r"[^0-9A-Za-z.]", "-", text)
    return name if len(name) <= 120 else f"{name[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


class _Context(jinja2.runtime.Context):
    """Looks names up in the scope that it was rendered with."""

    def resolve_or_missing(self, key: str) -> Any:
        scope: Scope = self.parent["scope"]
        return scope[key] if key in scope else super().resolve_or_missing(key)


class _Environment(ImmutableSandboxedEnvironment):
    context_class = _Context


_VALUES = _Environment(undefined=jinja2.StrictUndefined, autoescape=False)
_COMMANDS = _Environment(undefined=jinja2.StrictUndefined, autoescape=False, finalize=_as_words)
for _environment in (_VALUES, _COMMANDS):
    _environment.filters["basename"] = lambda path: Path(str(path)).name
    _environment.filters["words"] = shlex.split
    _environment.filters["slug"] = _slug
    _environment.filters["fill"] = lambda items, text: [text.replace("{}", str(item)) for item in items]
    _environment.filters["lookup"] = lambda key, table, default: table.get(key, default)
    _environment.tests["file"] = os.path.isfile
    _environment.tests["directory"] = os.path.isdir


@functools.cache
def _expression(text: str) -> Callable[..., Any]:
    return _VALUES.compile_expression(text, undefined_to_none=False)


@functools.cache
def _template(environment: _Environment, text: str) -> jinja2.Template:
    return environment.from_string(text)


class Scope:
    """The names that expressions may use; values and flags are computed when they are asked for.

    Args:
        recipe: what messages call the file.
        known: names with their values.
        values: names whose values are given by expressions.
        flags: names of parts of commands.
        outer: where other names are looked up. Values and flags found there may use the names of this scope.
        absolute: whether paths that the user gave are put in as absolute ones.
    """

    def __init__(
        self,
        recipe: str,
        known: Mapping[str, Any],
        values: Mapping[str, Any],
        flags: Mapping[str, str],
        *,
        outer: Scope | None = None,
        absolute: bool = False,
    ) -> None:
        self.recipe = recipe
        self.absolute: bool = outer.absolute if outer else absolute
        self._known: dict[str, Any] = {**(outer._known if outer else {}), **known}
        self._values: dict[str, Any] = {**(outer._values if outer else {}), **values}
        self._flags: dict[str, str] = {**(outer._flags if outer else {}), **flags}
        for name in known:  # what is inside hides what is outside
            self._values.pop(name, None)
            self._flags.pop(name, None)
        self._asked: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._known or name in self._values or name in self._flags

    def __getitem__(self, name: str) -> Any:
        if name in self._known:
            return self._shown(self._known[name])
        if name in self._asked:
            way = " -> ".join([*self._asked, name])
            raise UserError(f"{self.recipe}: {name} is computed from itself ({way}); give it a value")
        self._asked.append(name)
        try:
            if name in self._values:
                return self.value(self._values[name], f"values.{name}")
            return Flags(self.command(self._flags[name], f"flags.{name}"))
        finally:
            self._asked.pop()

    def _shown(self, value: Any) -> Any:
        if isinstance(value, GivenPath):
            return value.absolute() if self.absolute else value.text
        return value.compute() if isinstance(value, Computed) else value

    def is_model_name(self, text: str) -> bool:
        """Return whether a text is the name of a model on a hub, as one of the settings gives it."""
        paths = (value for value in self._known.values() if isinstance(value, GivenPath))
        return any(path.may_be_name and not path.is_there and path.text == text for path in paths)

    def value(self, written: Any, where: str) -> Any:
        """Return what a part of the recipe means.

        Args:
            written: as it was read. A text that is one expression becomes what this yields, of any type; any
                other text becomes a text; the items of lists and mappings are treated in the same way.
            where: the part's place in the file.

        Raises:
            UserError: the expression is wrong, or uses a name that there is not.
        """
        if isinstance(written, list):
            return [self.value(item, where) for item in written]
        if isinstance(written, dict):
            return {key: self.value(item, where) for key, item in written.items()}
        if not isinstance(written, str) or "{" not in written:
            return written
        try:
            if whole := _WHOLE.fullmatch(written):
                return _as_yaml(_expression(whole[1])(scope=self))
            return _template(_VALUES, written).render(scope=self)
        except UserError:
            raise
        except Exception as error:  # anything: the expression is the user's
            raise self._wrong(written, where, error) from error

    def command(self, written: str, where: str) -> str:
        """Return a command, or a part of one, with every expression as quoted words.

        Args:
            written: as it was read.
            where: its place in the file.

        Raises:
            UserError: an expression is wrong, or uses a name that there is not.
        """
        try:
            found = _template(_COMMANDS, written).render(scope=self)
        except UserError:
            raise
        except Exception as error:
            raise self._wrong(written, where, error) from error
        return re.sub(rf" ?{_NOTHING}", "", found).strip()

    def _wrong(self, written: str, where: str, error: Exception) -> UserError:
        braces = re.findall(r"\{[{%].*?[}%]\}", written, re.DOTALL)
        shown = braces[0] if len(braces) == 1 else f"an expression of {written[:60]!r}"
        return UserError(f"{self.recipe}: {where}: {shown}: {first_line(error)}; see docs/recipes.md")


def _as_yaml(found: Any) -> Any:
    """Return what an expression yields, in the types of YAML; a name that there is not is an error here."""
    if isinstance(found, jinja2.Undefined):
        str(found)  # raises
    if isinstance(found, range | tuple | map | filter) or type(found).__name__ in ("generator", "dict_keys"):
        return list(found)
    return found
