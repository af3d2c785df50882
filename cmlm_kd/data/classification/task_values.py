"""Flags that name tasks: ``SST-2,RTE`` and ``SST-2=value,RTE=value``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import comma_separated

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def task_names(text: str, flag: str) -> tuple[str, ...]:
    """Return the names in a comma-separated flag, each once.

    Raises:
        UserError: if there is none, one comes twice, or one has a character that does not belong in the name
            of a metric.
    """
    names = comma_separated(text)
    if not names:
        raise UserError(f"{flag} names no task; give some, separated by commas, such as SST-2,RTE")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{flag} names {name} twice; give each task once")
        if not _NAME.fullmatch(name):
            raise UserError(f"{flag}: {name!r} is no name; use letters, digits, - and _")
    return names


def values_of_tasks(text: str, flag: str, tasks: Sequence[str]) -> dict[str, str]:
    """Return task -> value of a flag such as ``SST-2=value,RTE=value``; the value of a bare name is empty.

    Args:
        text: what follows the flag.
        flag: its name, for messages.
        tasks: those that there are.

    Raises:
        UserError: if a task is unknown, with the closest ones, or comes twice.
    """
    found: dict[str, str] = {}
    for part in comma_separated(text):
        name, _, value = part.partition("=")
        if name not in tasks:
            raise UserError(
                f"{flag} names {name!r}, which is not trained here: the tasks are {', '.join(tasks)}"
                f"{closest(name, tasks)}"
            )
        if name in found:
            raise UserError(f"{flag} names {name} twice; give each task once")
        found[name] = value
    return found


def some_tasks(text: str, flag: str, tasks: Sequence[str]) -> frozenset[str]:
    """Return the tasks in a flag such as ``SST-2,RTE``.

    Raises:
        UserError: if a task is unknown, comes twice, or has a value.
    """
    found = values_of_tasks(text, flag, tasks)
    for name, value in found.items():
        if value:
            raise UserError(f"{flag} takes names alone, got {name}={value}")
    return frozenset(found)


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` where a known name is close, else nothing."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(lowered[match] for match in close)}?" if close else ""
