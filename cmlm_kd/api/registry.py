"""The registry of criteria: each name's class and config, by which ``--criterion NAME`` finds both."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from cmlm_kd.api.criterion import KDCriterion
from cmlm_kd.errors import UserError

Base = TypeVar("Base")
Registered = TypeVar("Registered")

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def unknown_name(kind: str, name: str, known: Iterable[str], listed: Iterable[str]) -> UserError:
    """Return what to say of a name that is not registered.

    Args:
        kind: what it was to name, or the flag that names it.
        name: what the user gave.
        known: all names, of which the closest are offered.
        listed: names to list where none is close.
    """
    close = difflib.get_close_matches(name, list(known), n=3)
    hint = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"registered are: {', '.join(listed)}"
    )
    return UserError(f"no {kind} is named {name!r}; {hint}")


@dataclass(frozen=True)
class NoSettings:
    """The config of a class that has nothing to set."""


@dataclass(frozen=True)
class Entry(Generic[Base]):
    """A registered class with its name and its config dataclass."""

    name: str
    cls: type[Base]
    config: type


class Registry(Generic[Base]):
    """A table of classes by name.

    Args:
        kind: what is registered, for messages.
        base: the class that every registered class must extend.

    Attributes:
        broken: name -> why what an installed package offers under it could not be registered; raised by
            :meth:`get`.
    """

    def __init__(self, kind: str, base: type[Base]) -> None:
        self.kind = kind
        self.base = base
        self._entries: dict[str, Entry[Base]] = {}
        self._listeners: list[Callable[[Entry[Base]], None]] = []
        self.broken: dict[str, UserError] = {}

    def register(
        self, name: str, *, config: type = NoSettings
    ) -> Callable[[type[Registered]], type[Registered]]:
        """Return a class decorator that registers under ``name``; the fields of ``config`` become flags.

        Raises:
            UserError: if the name is none or taken, the class is none, is abstract, does not extend the base
                or has a taken name, or ``config`` is no dataclass.
        """

        def decorate(cls: type[Registered]) -> type[Registered]:
            self._add(name, cls, config)
            return cls

        return decorate

    def _add(self, name: str, cls: type, config: type) -> None:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise UserError(
                f"{self.kind} {name!r}: a name has letters, digits, - and _ alone, and begins with a letter"
            )
        if not isinstance(cls, type):
            raise UserError(f"{self.kind} {name!r}: {cls!r} is no class; decorate a class")
        if name in self._entries:
            owner = self._entries[name].cls
            raise UserError(
                f"{self.kind} {name!r} is already registered by {owner.__module__}.{owner.__qualname__}; "
                "choose another name"
            )
        if cls.__name__ in {entry.cls.__name__ for entry in self._entries.values()}:
            # Checkpoints remember a criterion by its class name.
            raise UserError(
                f"{self.kind} {name!r}: a class named {cls.__name__} is already registered; rename one"
            )
        if not issubclass(cls, self.base):
            raise UserError(
                f"{self.kind} {name!r}: {cls.__name__} must extend "
                f"{self.base.__module__}.{self.base.__name__}"
            )
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
            raise UserError(f"{self.kind} {name!r}: {cls.__name__} is abstract; define {missing}")
        if not (isinstance(config, type) and is_dataclass(config)):
            raise UserError(f"{self.kind} {name!r}: config must be a dataclass, got {config!r}")
        entry = Entry(name, cls, config)
        for listener in self._listeners:
            listener(entry)  # first: whoever refuses the entry keeps it out of the table
        self._entries[name] = entry

    def get(self, name: str) -> Entry[Base]:
        """Return the entry of ``name``.

        Raises:
            UserError: if there is none, saying why, or naming the closest names.
        """
        if name in self._entries:
            return self._entries[name]
        raise self.broken.get(name) or unknown_name(self.kind, name, self, self)

    def load_entry_points(self, group: str, only: str | None = None) -> None:
        """Import what installed packages register here.

        A package whose class cannot be registered never stands in the way of the others: a warning says so,
        and whoever names it (:meth:`get`) gets the warning's text as an error.

        Args:
            group: of entry points, each a registered name -> the module that registers it.
            only: the one name to import, where importing the others would cost time; None for all.
        """
        from importlib.metadata import entry_points

        for point in entry_points(group=group):
            if only not in (None, point.name):
                continue
            package = (
                f"package {point.dist.name} {point.dist.version}" if point.dist else "an installed package"
            )
            problem = self._problem_with(point)
            if problem is not None:
                self.broken[point.name] = UserError(
                    f"{self.kind} {point.name!r} of {package} cannot be used: entry point "
                    f"'{point.name} = {point.value}' of group {group}: {problem}"
                )
                logger.warning("%s", self.broken[point.name])

    def _problem_with(self, point: EntryPoint) -> str | None:
        """Return why what an entry point names cannot be used, and what to do; None for success."""
        name = point.dist.name if point.dist else point.module
        registered = set(self)
        try:
            point.load()
        except UserError as error:  # of this registry: the name or the class is taken, or is none
            return f"{error}; rename it in the package, or run: pip uninstall {name}"
        except Exception as error:  # somebody else's code may fail in any way
            return (
                f"{type(error).__name__}: {error}; update or repair the package, or run: pip uninstall {name}"
            )
        if point.name not in self:
            added = ", ".join(sorted(set(self) - registered)) or "none"
            return (
                f"it registers no {self.kind} of that name (but {added}); name the entry point as it is "
                "registered"
            )
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def subscribe(self, listener: Callable[[Entry[Base]], None]) -> None:
        """Call ``listener`` with every entry, those registered so far and those to come."""
        for entry in self._entries.values():
            listener(entry)
        self._listeners.append(listener)


kd_criteria: Registry[KDCriterion] = Registry("KD criterion", KDCriterion)  # type: ignore[type-abstract]
