"""A scorer of the user's: any command that reads tab-separated lines and writes a number a line."""

from __future__ import annotations

import math
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cmlm_kd.data.translating.pick import Row
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.text import iterate_lines


@contextmanager
def scored(command: str, rows: Iterable[Row]) -> Iterator[Iterator[list[float]]]:
    """Yield the numbers that a command gives the hypotheses of each row.

    The command is started once, without a shell. It reads source, hypothesis and reference (empty where
    there is none) of every hypothesis from its standard input, and writes as many numbers to its standard
    output; what it writes to standard error is shown.

    Raises:
        UserError: it cannot be started, fails, prints another number of lines than it was given, or
            something that is no finite number.
    """
    with tempfile.TemporaryDirectory(prefix="cmlm-kd-scorer-") as folder:
        given, printed = Path(folder, "in.tsv"), Path(folder, "out.txt")
        counts = Path(folder, "counts.txt")
        lines = _write_input(given, counts, rows)
        _run(command, given, printed)
        numbers = _numbers(command, printed, lines)
        yield (_take(numbers, int(count)) for count in iterate_lines(counts))


def _take(numbers: Iterator[float], count: int) -> list[float]:
    return [next(numbers) for _ in range(count)]


def _write_input(path: Path, counts: Path, rows: Iterable[Row]) -> int:
    lines = 0
    with path.open("w", encoding="utf-8") as stream, counts.open("w", encoding="utf-8") as sizes:
        for row in rows:
            sizes.write(f"{len(row.hypotheses)}\n")
            for entry in row.hypotheses:
                cells = (row.source, entry.text, row.reference or "")
                stream.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
                lines += 1
    return lines


def _run(command: str, given: Path, printed: Path) -> None:
    try:
        words = shlex.split(command)
        if not words:
            raise ValueError("it is empty")
        with given.open("rb") as stdin, printed.open("wb") as stdout:
            done = subprocess.run(words, stdin=stdin, stdout=stdout, check=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scorer {command!r} cannot be started ({first_line(error)}); give a program and its "
            "arguments, or with what only a shell knows: sh -c '...'"
        ) from error
    if done.returncode:
        raise UserError(
            f"--scorer {command!r} failed with exit status {done.returncode}; its own message is above; "
            "mend it and run the same command again: nothing is translated twice"
        )


def _numbers(command: str, printed: Path, lines: int) -> Iterator[float]:
    """Return the numbers, all of them checked before the first is used."""
    values = []
    for number, line in enumerate(iterate_lines(printed), 1):
        try:
            value = float(line)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(
                f"--scorer {command!r} printed {line[:40]!r} in line {number}; it must print one number a "
                "line and nothing else"
            )
        values.append(value)
    if len(values) != lines:
        raise UserError(
            f"--scorer {command!r} printed {len(values):,} lines for {lines:,} hypotheses; it must print one "
            "number for each line that it reads"
        )
    return iter(values)
