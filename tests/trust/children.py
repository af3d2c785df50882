"""Commands run in forked children of a process that has imported all they need.

Starting a command anew takes seconds, because it imports torch; two thousand of them would take hours. The
child runs what the console script runs, with files as its standard streams, and ends as a process ends.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
USER_DIR = REPOSITORY / "fairseq_plugins"
NOBODY = 65534
"""A user that may not write what belongs to others, where the harness itself runs as root."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status; negative for a signal.
        out, err: what it printed.
        seconds: how long it took.
        hung: whether it had to be killed because it would not end.
    """

    status: int
    out: str
    err: str
    seconds: float
    hung: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What a command finds around itself.

    Attributes:
        environment: variables to set, or with None to unset.
        largest_file: bytes, as a full disk would have it.
        nobody: run as a user who may not write others' files.
        stdin: what stands on standard input.
        stdout: device for standard output.
        kill_after: seconds until a signal.
        signal: which.
    """

    environment: tuple[tuple[str, str | None], ...] = ()
    largest_file: int | None = None
    nobody: bool = False
    stdin: bytes = b""
    stdout: str | None = None
    kill_after: float | None = None
    signal: int = signal.SIGKILL


USUAL = Surroundings()


def run(
    words: Sequence[str], folder: Path, streams: Path, seconds: float = 120.0, around: Surroundings = USUAL
) -> Ended:
    """Run one command in a folder.

    Args:
        words: ``cmlm-kd`` without its name, or a command of fairseq with its name.
        folder: working directory.
        streams: a folder outside it, for standard output, error, temporary files and the home.
        seconds: after which the command counts as hung.
    """
    for name in ("home", "tmp"):
        (streams / name).mkdir(parents=True, exist_ok=True)
        (streams / name).chmod(0o777)
    (streams / "in").write_bytes(around.stdin)
    (streams / "modules").unlink(missing_ok=True)
    started = start(words, folder, streams, around)
    return started.wait(seconds)


class Started:
    """A command that runs; what it prints comes through pipes, for which there is room on a full disk."""

    def __init__(self, pid: int, out: int, err: int, around: Surroundings) -> None:
        self.pid, self.begun, self._around = pid, time.monotonic(), around
        self._printed: dict[int, bytearray] = {out: bytearray(), err: bytearray()}
        for stream in self._printed:
            os.set_blocking(stream, False)

    def wait(self, seconds: float) -> Ended:
        """Wait for the end, and bring it about after some seconds."""
        after = self._around.kill_after
        end = self.begun + (seconds if after is None else min(seconds, after))
        pause, killed = 0.001, False
        while True:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self._drain()
            if found:
                break
            left = end - time.monotonic()
            if left <= 0 and not killed:
                killed, left = True, 20.0
                os.kill(self.pid, self._around.signal if after is not None else signal.SIGKILL)
                end = time.monotonic() + left
            elif left <= 0:
                os.kill(self.pid, signal.SIGKILL)
                left = 0.1
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.02)
        took = time.monotonic() - self.begun
        texts = [bytes(data).decode("utf-8", "replace") for data in self._printed.values()]
        for stream in self._printed:
            os.close(stream)
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, texts[0], texts[1], took, hung=killed and (after is None or seconds <= after))

    def _drain(self) -> None:
        for stream, data in self._printed.items():
            with contextlib.suppress(BlockingIOError):
                while found := os.read(stream, 1 << 16):
                    data += found


def start(words: Sequence[str], folder: Path, streams: Path, around: Surroundings = USUAL) -> Started:
    """Start a command and return at once; see :func:`run`."""
    sys.stdout.flush()
    sys.stderr.flush()
    (out, child_out), (err, child_err) = os.pipe(), os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the child is the command
    pid = os.fork()
    if pid == 0:
        _child(words, folder, streams, around, child_out, child_err)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.close(child_out)
    os.close(child_err)
    return Started(pid, out, err, around)


def _child(
    words: Sequence[str], folder: Path, streams: Path, around: Surroundings, out: int, err: int
) -> None:
    """Be the command; never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        stdin = os.open(streams / "in", os.O_RDONLY)
        if around.stdout is not None:
            out = os.open(around.stdout, os.O_WRONLY)
        for number, stream in enumerate((stdin, out, err)):
            os.dup2(stream, number)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)), encoding="utf-8", line_buffering=True
        )
        os.environ.update(HOME=str(streams / "home"), TMPDIR=str(streams / "tmp"))
        for variable, value in around.environment:
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value
        importlib.import_module("tempfile").tempdir = None
        if around.largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (around.largest_file, around.largest_file))
        if around.nobody and os.getuid() == 0:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        before = set(sys.modules)
        status = _status_of(lambda: _command(words))
        with contextlib.suppress(OSError):
            (streams / "modules").write_text(json.dumps(sorted(set(sys.modules) - before)))
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                status = status or 120  # as Python's own end has it
    finally:
        os._exit(status)


def _status_of(call: Callable[[], object]) -> int:
    """Call as the interpreter does at its end; returns the exit status."""
    try:
        call()
    except SystemExit as ending:
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _command(words: Sequence[str]) -> None:
    if words[0].startswith("fairseq-"):
        common = ("--user-dir", str(USER_DIR), "--required-batch-size-multiple", "1", "--num-workers", "0")
        sys.argv = [*words, *common]
        importlib.import_module("fairseq_cli." + words[0].removeprefix("fairseq-")).cli_main()
    elif words[0].endswith(".py"):
        sys.argv = list(words)
        runpy.run_path(str(REPOSITORY / "scripts" / words[0]), run_name="__main__")
    else:
        sys.argv = ["cmlm-kd", *words]
        entry_point = importlib.import_module("cmlm_kd.cli").entry_point
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        except KeyboardInterrupt:  # it came before there was a command
            print("cmlm-kd: interrupted", file=sys.stderr)
            sys.exit(130)
        entry_point()


def import_what_it_needed(streams: Path) -> None:
    """Import in this process what a command of :func:`run` imported, so that the next is quick."""
    noted = streams / "modules"
    for name in json.loads(noted.read_text()) if noted.exists() else ():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
