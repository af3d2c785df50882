"""A criterion's settings in words, for ``cmlm-kd flags`` and for the tables of ``docs/criteria``."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One setting as its user meets it.

    Attributes:
        name: such as ``--kd-alpha``.
        choices: what it may be, where it is one of several words.
        default: as it is typed; ``off`` for a switch, ``none`` where leaving it out means something else than
            any value.
        allowed: the range of a number, such as ``in [0, 1]``; empty where there is none.
        help: all that is to say of it, the range among it.
        meaning: the same without the range.
    """

    name: str
    choices: tuple[str, ...]
    default: str
    allowed: str
    help: str
    meaning: str


def flags_of(config: type) -> list[Flag]:
    """Return the flags that the fields of a config dataclass become, in their order."""
    hints = typing.get_type_hints(config)
    flags = []
    for field in dataclasses.fields(config):
        is_choice = typing.get_origin(hints[field.name]) is typing.Literal
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        text, allowed = field.metadata.get("help", ""), field.metadata.get("range")
        flags.append(
            Flag(
                f"--{field.name.replace('_', '-')}",
                tuple(map(str, typing.get_args(hints[field.name]))) if is_choice else (),
                _typed(default),
                allowed.allowed if allowed else "",
                text,
                field.metadata.get("meaning", text),
            )
        )
    return flags


def _typed(default: object) -> str:
    """Return a default as a user would type it."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"{default:g}"
    return "none" if default is None else str(default)
