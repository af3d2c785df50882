"""The ``cmlm-kd`` command: one sub-command per module of :mod:`cmlm_kd.cli`."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import ModuleType

from cmlm_kd.errors import NO_PERMISSION, NO_SPACE, UserError
from cmlm_kd.version import __version__

COMMANDS = {
    "The whole road": ("run",),
    "Prepare": ("fetch-multi30k", "numbers-corpus", "train-tokenizer", "prepare", "split", "augment"),
    "Teach": ("translate", "dump", "verify"),
    "Distil": ("flags", "choose", "average"),
    "Use": ("export", "calibrate", "classify"),
    "Measure": ("score", "report", "evaluate", "evaluate-masked-lm", "compare-seeds", "exits"),
    "Tools": ("doctor", "user-dir"),
}
"""Every command under the heading that ``cmlm-kd --help`` shows it under, in the order of the road."""

_COLUMN = 22  # of the help texts; every name is shorter


class _HelpFormatter(argparse.HelpFormatter):
    """Names a flag's default where it has one that says something."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default, text = action.default, action.help or ""
        says_nothing = default is None or isinstance(default, bool) or default in ("", [], ())
        if says_nothing or default is argparse.SUPPRESS or "default:" in text:
            return text
        values = default if isinstance(default, (list, tuple)) else [default]
        said = " ".join(map(str, values)).replace("%", "%%")
        return f"{text} (default: {said})"


def command_modules() -> dict[str, ModuleType]:
    """Return command name -> module of :mod:`cmlm_kd.cli`, in the order of :data:`COMMANDS`.

    A command module has ``HELP``, ``add_arguments(parser)`` and ``run(arguments)``; heavy imports live in
    ``run``. ``GOES_ON = True`` says that the same command goes on where an interrupted one stopped.
    """
    names = [name for group in COMMANDS.values() for name in group]
    return {name: importlib.import_module(f"cmlm_kd.cli.{name.replace('-', '_')}") for name in names}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    modules = command_modules()
    parser = argparse.ArgumentParser(
        prog="cmlm-kd",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=_overview(modules),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cmlm-kd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    for name, module in modules.items():
        command = commands.add_parser(
            name, prog=f"cmlm-kd {name}", description=module.HELP, formatter_class=_HelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, goes_on=getattr(module, "GOES_ON", False))
    return parser


def _overview(modules: Mapping[str, ModuleType]) -> str:
    """Return what ``cmlm-kd --help`` says of the commands, by their groups."""
    width = max(shutil.get_terminal_size().columns - 2, 2 * _COLUMN)
    lines = ["Distil what BERT knows into small, fast models."]
    for heading, names in COMMANDS.items():
        lines += ["", f"{heading}:"]
        for name in names:
            start = f"  {name}".ljust(_COLUMN)
            lines += textwrap.wrap(
                modules[name].HELP, width, initial_indent=start, subsequent_indent=" " * _COLUMN
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    A :class:`UserError` becomes one line on standard error and exit status 2, and so does a disk that is full
    or must not be written. An interruption (Ctrl-C) becomes one line and exit status 130.
    """
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except UserError as error:
        print(f"cmlm-kd {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; the same command goes on from there" if arguments.goes_on else ""
        print(f"cmlm-kd {arguments.command}: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output (head, grep -m) went away: not an error
        return 141
    except OSError as error:
        if error.errno not in NO_SPACE | NO_PERMISSION:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "make room" if error.errno in NO_SPACE else "change its permissions"
        print(
            f"cmlm-kd {arguments.command}: {place}{error.strerror}; {remedy} or choose another place",
            file=sys.stderr,
        )
        return 2
    return 0


def entry_point() -> None:
    """Console-script entry: exit with the status of :func:`main`."""
    sys.exit(main())
