"""Settings of a recipe: what may be set, and what was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.expressions import GivenPath

TYPES = {
    "text": "a text",
    "int": "a whole number",
    "number": "a number",
    "path": "a path",
    "model": "a directory or a model's name on a hub",
}


@dataclass(frozen=True)
class Setting:
    """One setting as the recipe declares it.

    Attributes:
        default: its value unless it is set; None if it may be left open.
        type: one of :data:`TYPES`.
        list: whether it is a list of such values; on the command line with commas between them.
        choices: all values that are allowed; any where there are none.
        min: the smallest number allowed.
        above: what a number must be above.
        max: the largest number allowed.
        pattern: what a text must match from its beginning to its end, a regular expression.
        required: whether it must be set.
        varies: whether runs with different values may share an output folder.
    """

    default: Any = None
    type: str = "text"
    list: bool = False
    choices: tuple[Any, ...] = ()
    min: float | None = None
    above: float | None = None
    max: float | None = None
    pattern: str = ""
    required: bool = False
    varies: bool = False

    @property
    def allowed(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            *first, last = map(str, self.choices)
            listed = f"{', '.join(first)} or {last}" if first else last
            return f"a list of {listed}, with commas" if self.list else listed
        limits = [
            f"{words} {limit:g}"
            for words, limit in (("at least", self.min), ("above", self.above), ("at most", self.max))
            if limit is not None
        ]
        one = " ".join([TYPES[self.type], " and ".join(limits)]).strip()
        if self.pattern:
            one = f"{one} that matches {self.pattern}"
        return f"a list with commas, each {one}" if self.list else one

    def parse(self, given: Any) -> Any:
        """Return a value of this setting.

        Args:
            given: a text from the command line, or a value from YAML.

        Raises:
            ValueError: it is not allowed.
        """
        if given is None or (given == "" and self.default is None):
            if self.required:
                raise ValueError
            return None
        if given == "" and self.type == "text" and not self.pattern and not self.list:
            return ""
        if not self.list:
            return self._parse_one(given)
        items = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
        return [self._parse_one(item) for item in items]

    def _parse_one(self, given: Any) -> Any:
        if isinstance(given, bool):  # what YAML makes of yes and no
            raise ValueError
        if self.type in ("path", "model"):
            found: Any = GivenPath(str(given), may_be_name=self.type == "model")
        elif self.type == "text":
            found = str(given)
        else:
            found = yaml.safe_load(given) if isinstance(given, str) else given
            if self.type == "number" and isinstance(found, str):
                found = float(found)  # 1e-4, which YAML takes for a text
            kinds = int if self.type == "int" else (int, float)
            if not isinstance(found, kinds) or isinstance(found, bool):
                raise ValueError
        if self.choices and found not in self.choices:
            raise ValueError
        if self.pattern and not re.fullmatch(self.pattern, found):
            raise ValueError
        if self.type in ("int", "number") and not self._in_range(found):
            raise ValueError
        if given == "":
            raise ValueError
        return found

    def _in_range(self, number: float) -> bool:
        return (
            (self.min is None or number >= self.min)
            and (self.above is None or number > self.above)
            and (self.max is None or number <= self.max)
        )


def read_setting(written: Any, where: str) -> Setting:
    """Return the setting that a recipe declares.

    Args:
        written: a mapping of :class:`Setting`'s attributes, or a default alone.
        where: file and key, for messages.

    Raises:
        UserError: it has an attribute or type that there is not, or a default that it does not allow.
    """
    if not isinstance(written, dict):
        kinds: dict[type, str] = {int: "int", float: "number"}
        written = {"default": written, "type": kinds.get(type(written), "text")}
    names = [field.name for field in fields(Setting)]
    for name in written:
        if name not in names:
            raise UserError(f"{where}: there is no {name!r}; a setting has {', '.join(names)}")
    if written.get("type", "text") not in TYPES:
        raise UserError(f"{where}: type is {written['type']!r}; it must be one of {', '.join(TYPES)}")
    setting = Setting(**{**written, "choices": tuple(written.get("choices", ()))})
    if setting.default is not None:
        try:
            setting.parse(setting.default)
        except (ValueError, TypeError, yaml.YAMLError):
            raise UserError(
                f"{where}: default is {setting.default!r}; it must be {setting.allowed}"
            ) from None
    return setting


def read_values(recipe: str, settings: Mapping[str, Setting], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of every setting.

    Args:
        recipe: what messages call the file.
        settings: by name.
        given: those that the user has set, as texts.

    Raises:
        UserError: a name that there is not, a value that is not allowed, or a missing one.
    """
    for name in given:
        if name not in settings:
            raise UserError(f"{recipe} has no setting {name!r}; it has {', '.join(settings)}")
    values = {}
    for name, setting in settings.items():
        text = given.get(name, setting.default)
        if setting.required and text in (None, ""):
            raise UserError(f"{recipe}: {name} is missing; give {setting.allowed}: --set {name}=...")
        try:
            values[name] = setting.parse(text)
        except (ValueError, TypeError, yaml.YAMLError):
            raise UserError(f"{recipe}: {name} is {text!r}; it must be {setting.allowed}") from None
    return values


def plain(value: Any) -> Any:
    """Return a setting's value as it is written to YAML and compared: paths as absolute ones."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.absolute() if isinstance(value, GivenPath) else value
