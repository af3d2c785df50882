"""Commands of steps: each in a process group of its own, which ends with the run however that ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_PATIENCE = 10.0
"""Seconds that a command has to end after it was told to."""
_BAR_SECONDS = 15.0
"""Between two states of a progress bar that are shown."""

# Reads "+GROUP" and "-GROUP"; at the end of its input, which comes when the run is gone, ends what is left.
_WATCHDOG = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Processes:
    """The commands that are running.

    Args:
        lock: a file descriptor that they inherit, so that the run's folder stays locked until they are gone.
    """

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._ended = False
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHDOG],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def run(
        self, command: str, environment: Mapping[str, str], log: Path, show: Callable[[str], None]
    ) -> int:
        """Run a command of bash and return its status.

        Args:
            command: of one line or more; the first that fails ends it.
            environment: all variables.
            log: gets everything that it says.
            show: called with each line of that.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._guard:
            if self._ended:
                return -signal.SIGTERM
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
            self._running.add(process)
            self._tell("+", process)
        if process.stdout is not None:
            with log.open("ab", buffering=0) as file, process.stdout:
                _pass_on(process.stdout.fileno(), file, show)
        status = process.wait()
        with self._guard:
            self._running.discard(process)
            self._tell("-", process)
        return status

    def end_all(self) -> None:
        """End what is running, and let nothing begin any more."""
        with self._guard:
            self._ended = True
            running = list(self._running)
        _signal(running, signal.SIGTERM)
        patient_until = time.monotonic() + _PATIENCE
        while time.monotonic() < patient_until and any(process.poll() is None for process in running):
            time.sleep(0.05)
        _signal(running, signal.SIGKILL)  # the group may outlive its first process
        for process in running:
            process.wait()

    def close(self) -> None:
        """Let the watchdog go."""
        if self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.close()
        self._watchdog.wait()

    def _tell(self, sign: str, process: subprocess.Popen[bytes]) -> None:
        if self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.write(f"{sign}{process.pid}\n")


def _pass_on(source: int, log: BinaryIO, show: Callable[[str], None]) -> None:
    """Copy what a command says to its log; show each line, and of a progress bar its state now and then."""
    unfinished, shown = b"", time.monotonic()
    while chunk := os.read(source, 1 << 16):
        log.write(chunk)
        *lines, unfinished = (unfinished + chunk).split(b"\n")
        for line in lines:
            show(_last_state(line))
            shown = time.monotonic()
        unfinished = unfinished[max(0, unfinished.rfind(b"\r")) :]  # a bar overwrites what it said before
        if unfinished.startswith(b"\r") and time.monotonic() - shown > _BAR_SECONDS:
            show(_last_state(unfinished))
            shown = time.monotonic()
    if unfinished:
        show(_last_state(unfinished))


def _last_state(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2].rstrip()


def _signal(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


class Gate:
    """Counts who is inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextlib.contextmanager
    def passed(self, *, alone: bool) -> Iterator[None]:
        """Wait until one may pass; others wait until who is alone has left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (alone and self._inside))
            self._inside += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()


_PROGRESS = re.compile("train_inner|valid on|asking the teachers|soft targets for")
"""What is worth reading of what fairseq says."""
_LAST_LINES = 10


class Screen:
    """Standard output and error, for several steps at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()

    def say(self, text: str) -> None:
        """Print a title."""
        self._print(f"\n== {text}\n")

    def progress(self, step: str, command: str, line: str) -> None:
        """Print a line that a step said, after its name; of fairseq's only what tells how far it is."""
        if line and ("fairseq-" not in command or _PROGRESS.search(line)):
            self._print(f"{step}: {line}\n")

    def show(self, title: str, file: Path) -> None:
        """Print a result."""
        self.say(title)
        self._print(file.read_text(encoding="utf-8", errors="replace"))

    def _print(self, text: str) -> None:
        with self._guard:
            try:
                print(text, end="", flush=True)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OSError(error.errno, error.strerror, "standard output") from error

    def end_of(self, log: Path) -> None:
        """Print the last lines of a log to standard error."""
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        with self._guard:
            for line in lines[-_LAST_LINES:]:
                print(f"    {line}", file=sys.stderr, flush=True)
