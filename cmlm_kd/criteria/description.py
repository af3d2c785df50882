"""A criterion's settings and source in words, for ``cmlm-kd flags`` and for its page in ``docs/criteria``."""

from __future__ import annotations

import dataclasses
import re
import typing
from dataclasses import dataclass

from cmlm_kd.api.registry import kd_criteria


@dataclass(frozen=True)
class Flag:
    """One setting as its user meets it.

    Attributes:
        name: such as ``--kd-alpha``.
        choices: what it may be, where it is one of several words.
        default: as it is typed; empty for a switch.
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
        literal = typing.get_origin(hints[field.name]) is typing.Literal
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        text, allowed = field.metadata.get("help", ""), field.metadata.get("range")
        flags.append(
            Flag(
                f"--{field.name.replace('_', '-')}",
                tuple(map(str, typing.get_args(hints[field.name]))) if literal else (),
                "" if isinstance(default, bool) else str(default),
                allowed.allowed if allowed else "",
                text,
                field.metadata.get("meaning", text),
            )
        )
    return flags


def settings_table(name: str) -> str:
    """Return the Markdown table of a criterion's settings.

    Raises:
        UserError: if no criterion has the name.
    """
    rows = ["| flag | default | allowed | meaning |", "|---|---|---|---|"]
    for flag in flags_of(kd_criteria.get(name).config):
        default = f"`{flag.default}`" if flag.default else "off"
        allowed = ", ".join(f"`{choice}`" for choice in flag.choices) or flag.allowed.removeprefix("in ")
        rows.append(f"| `{flag.name}` | {default} | {allowed} | {flag.meaning} |".replace("  ", " "))
    return "\n".join(rows)


def citation_block(name: str) -> str:
    """Return the BibTeX of the paper that a criterion follows, as Markdown.

    Raises:
        UserError: if no criterion has the name.
    """
    return f"```bibtex\n{kd_criteria.get(name).cls.citation}```"


WRITTEN = {"settings": settings_table, "citation": citation_block}
"""What stands in a page between ``<!-- written: WHAT NAME -->`` and ``<!-- end -->``, by WHAT."""

_PLACE = re.compile(r"(<!-- written: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_written_parts(page: str) -> str:
    """Return a page of ``docs/criteria`` with all that is written from the code brought up to date.

    Raises:
        UserError: if it names a criterion that is not registered.
        KeyError: if it asks for anything but :data:`WRITTEN`.
    """
    return _PLACE.sub(lambda found: f"{found[1]}{WRITTEN[found[2]](found[3])}\n{found[4]}", page)
