"""The ``cmlm-kd`` command: one sub-command a module of :mod:`cmlm_kd.cli`."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from cmlm_kd.errors import UserError
from cmlm_kd.version import __version__

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EROFS}


COMMANDS = {
    "The whole road": ("run",),
    "Prepare": ("fetch-multi30k", "numbers-corpus", "train-tokenizer", "prepare", "split", "augment"),
    "Teach and distil": ("dump", "verify", "flags"),
    "Choose and measure": (
        "choose",
        "score",
        "report",
        "evaluate",
        "evaluate-masked-lm",
        "compare-seeds",
        "exits",
        "calibrate",
    ),
    "Use": ("average", "export", "classify"),
    "Tools": ("doctor", "user-dir"),
}
"""Every command under the heading that ``cmlm-kd --help`` shows it under, in the order of the road."""


def command_modules() -> dict[str, ModuleType]:
    """Return command name -> module of :mod:`cmlm_kd.cli`, in the order of :data:`COMMANDS`.

    A command module has ``HELP``, ``add_arguments(parser)`` and ``run(arguments)``; heavy imports live in
    ``run``. ``GOES_ON = True`` says that the same command goes on where an interrupted one stopped.
    """
    names = [name for group in COMMANDS.values() for name in group]
    return {name: importlib.import_module(f"cmlm_kd.cli.{name.replace('-', '_')}") for name in names}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cmlm-kd", description="Distil what BERT knows into small, fast models."
    )
    parser.add_argument("--version", action="version", version=f"cmlm-kd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in command_modules().items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, goes_on=getattr(module, "GOES_ON", False))
    return parser


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
        if error.errno not in _NO_ROOM | _NO_PERMISSION:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "make room" if error.errno in _NO_ROOM else "change its permissions"
        print(
            f"cmlm-kd {arguments.command}: {place}{error.strerror}; {remedy} or choose another place",
            file=sys.stderr,
        )
        return 2
    return 0


def entry_point() -> None:
    """Console-script entry: exit with the status of :func:`main`."""
    sys.exit(main())
