"""What a run tells of its steps: titles, their progress, their ends."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

_PROGRESS = re.compile("train_inner|valid on|asking the teachers|soft targets for")
"""What is worth reading of what fairseq says."""
_LAST_LINES = 10


class Screen:
    """Standard output and error, for several steps at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()

    def say(self, text: str) -> None:
        """Print a title."""
        with self._guard:
            print(f"\n== {text}", flush=True)

    def progress(self, step: str, command: str, line: str) -> None:
        """Print a line that a step said, after its name; of fairseq's only what tells how far it is."""
        if line and ("fairseq-" not in command or _PROGRESS.search(line)):
            with self._guard:
                print(f"{step}: {line}", flush=True)

    def show(self, title: str, file: Path) -> None:
        """Print a result."""
        self.say(title)
        print(file.read_text(encoding="utf-8", errors="replace"), end="", flush=True)

    def end_of(self, log: Path) -> None:
        """Print the last lines of a log to standard error."""
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        with self._guard:
            for line in lines[-_LAST_LINES:]:
                print(f"    {line}", file=sys.stderr, flush=True)
