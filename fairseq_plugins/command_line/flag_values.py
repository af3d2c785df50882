"""One line about names and numbers of fairseq's flags that cannot be, before anything is built of them.

Where a flag names nothing that is registered, that line has the closest names, instead of a list of all.
fairseq checks ``--criterion``, ``--task``, ``--arch`` and the like once all user directories are imported:
what is looked at here is what it would look at, what other user directories registered included.
"""

import contextlib
import functools
import itertools
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import fairseq.options
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY

from cmlm_kd.api.registry import kd_criteria, unknown_name
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.plain_settings import allowed_instead

CLASSES = {"criterion": CRITERION_REGISTRY, "task": TASK_REGISTRY, "arch": ARCH_MODEL_REGISTRY}
"""Flags whose names lead to classes, whose modules tell fairseq's own from others."""


_RANGES = {"num_workers": (0, 1000), "seed": (0, 1 << 31), "update_freq": (1, 1 << 20)}
"""Flag of any command -> its least and its largest number."""


def check_flag_values() -> None:
    """Let fairseq's commands end with one line and status 2 where such a flag names nothing, or is absurd."""
    original = fairseq.options.parse_args_and_arch

    @functools.wraps(original)
    def parse(
        parser: ArgumentParser, input_args: list[str] | None = None, *args: Any, **settings: Any
    ) -> Any:
        with _as_of_argparse(parser):
            check_names(parser, sys.argv[1:] if input_args is None else input_args)
        parsed = original(parser, input_args, *args, **settings)
        with _as_of_argparse(parser):
            check_numbers(parsed[0] if isinstance(parsed, tuple) else parsed)
        return parsed

    fairseq.options.parse_args_and_arch = parse


@contextlib.contextmanager
def _as_of_argparse(parser: ArgumentParser) -> Iterator[None]:
    """Let a refusal end the command as a flag does that argparse cannot read."""
    try:
        yield
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def check_names(parser: ArgumentParser, arguments: list[str]) -> None:
    """Refuse what a flag of the parser names, if it is not registered.

    Args:
        parser: a command's, before the flags of task, architecture and criterion are added to it.
        arguments: the command line without the program.

    Raises:
        UserError: with the closest names, or those that are not fairseq's own.
    """
    for kind in ("criterion", "task", "arch", *(name for name in REGISTRIES if name != "criterion")):
        flag = "--" + kind.replace("_", "-")
        action = parser._option_string_actions.get(flag)
        if action is None or action.choices is None:
            continue
        for name in values_of(flag, arguments):
            if name not in action.choices:
                listed = _not_of_fairseq(CLASSES[kind]) if kind in CLASSES else sorted(action.choices)
                broken = kd_criteria.broken.get(name) if kind == "criterion" else None
                raise broken or unknown_name(flag, name, action.choices, listed)


def check_numbers(arguments: Namespace) -> None:
    """Refuse numbers that end in an assertion of a library, or in hours of building a model.

    Args:
        arguments: what the command line said, with the defaults of the architecture.

    Raises:
        UserError: naming the flag, its value and what it may be.
    """
    for name, value in vars(arguments).items():
        least, most = _RANGES.get(name, (None, None))
        if least is None or value is None:
            allowed = allowed_instead(name, value)
        else:
            numbers = value if isinstance(value, list) else [value]
            fits = all(least <= number <= most for number in numbers)
            allowed = None if fits else f"from {least} to {most:,}"
        if allowed is not None:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be {allowed}")


def values_of(flag: str, arguments: list[str]) -> list[str]:
    """Return what a command line gives a flag: ``--flag value`` and ``--flag=value``."""
    spaced = [value for given, value in itertools.pairwise(arguments) if given == flag]
    joined = [given.removeprefix(f"{flag}=") for given in arguments if given.startswith(f"{flag}=")]
    return [value for value in spaced if not value.startswith("--")] + joined


def _not_of_fairseq(classes: Mapping[str, type]) -> list[str]:
    return sorted(name for name, cls in classes.items() if not cls.__module__.startswith("fairseq."))
