"""The ``cmlm-kd`` command: one sub-command per module of :mod:`cmlm_kd.cli`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType

from cmlm_kd.errors import UserError, memory_message, one_line, os_error_message, os_error_of
from cmlm_kd.system.aside import interruption_waits
from cmlm_kd.system.text import flush_output
from cmlm_kd.version import __version__

COMMANDS = {
    "The whole road": ("run",),
    "Prepare": ("fetch-multi30k", "numbers-corpus", "train-tokenizer", "prepare", "split", "augment"),
    "Teach": ("translate", "dump", "merge", "verify"),
    "Distil": ("flags", "choose", "tune", "average"),
    "Use": ("export", "calibrate", "classify", "serve"),
    "Measure": ("score", "measure", "report", "evaluate", "evaluate-masked-lm", "compare-seeds", "exits"),
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
        command.register("type", Path, _path)
        module.add_arguments(command)
        command.set_defaults(run=module.run, goes_on=getattr(module, "GOES_ON", False))
    return parser


def _path(text: str) -> Path:
    """Return the path of an argument: an empty one, such as a variable that nobody set, is no place."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty path; give the name of a file or folder")
    return Path(text)


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

    A :class:`UserError` becomes one line on standard error and exit status 2, and so does what the operating
    system refuses: a full disk, a place that must not be written, a name that is too long. An interruption
    (Ctrl-C) becomes one line and exit status 130.
    """
    command = "cmlm-kd"
    with _interruptions_noted() as interrupted:
        goes_on = False
        try:
            arguments = build_parser().parse_args(argv)
            command, goes_on = f"cmlm-kd {arguments.command}", arguments.goes_on
            with interruption_waits():  # Python leaves the file with which it tries the folder at Ctrl-C
                tempfile.gettempdir()  # imports of some libraries end at a full disk with a riddle
            arguments.run(arguments)
            flush_output()  # at Python's end nobody could tell that the disk was full
            return 0
        except UserError as error:
            if not interrupted:  # a library that Ctrl-C ended may look like a damaged file
                return _end(command, str(error), 2)
        except BrokenPipeError:
            _drop_output()
            sys.stderr.close()  # the reader of our output (head, grep -m) went away: not an error
            return 141
        except Exception as error:
            message = memory_message(error) or _os_message(error)
            if message is not None:
                _drop_output()
                return _end(command, message, 2)
            if not interrupted:
                raise
        except KeyboardInterrupt:
            pass
    hint = "; the same command goes on from there" if goes_on else ""
    return _end(command, f"interrupted{hint}", 130)


def _end(command: str, message: str, status: int) -> int:
    print(f"{command}: {one_line(message)}", file=sys.stderr)
    return status


def _os_message(error: Exception) -> str | None:
    """Return what to say of an error of the operating system; None if it is none, or nobody's to mend."""
    found = os_error_of(error)
    return None if found is None else os_error_message(found)


_A_MOMENT = 0.01
"""Seconds, after which Python is done with what it ran in passing."""


@contextlib.contextmanager
def _interruptions_noted() -> Iterator[list[int]]:
    """Yield a list that is not empty once Ctrl-C was pressed.

    What it interrupts may be an import, or a library, that ends in an error of its own. Where it hits what
    Python runs in passing, such as the end of an object, nobody would hear of it: it comes again.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_usual or threading.current_thread() is not threading.main_thread():
        yield noted
        return
    former, timers = sys.unraisablehook, list[threading.Timer]()

    def interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            timers.append(
                threading.Timer(_A_MOMENT, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
            )
            timers[-1].start()
        else:
            former(ignored)

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = interrupt_again
    try:
        yield noted
    finally:
        for timer in timers:
            timer.cancel()
        sys.unraisablehook = former
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _drop_output() -> None:
    """Let go what cannot be printed; Python would try, and complain, once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry_point() -> None:
    """Console-script entry: exit with the status of :func:`main`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # text is UTF-8 here, in files and pipes, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        status = main()
    except KeyboardInterrupt:  # before it was noted, or after
        status = _end("cmlm-kd", "interrupted", 130)
    sys.exit(status)
