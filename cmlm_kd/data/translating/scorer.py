"""A scorer of the user's: any command that reads tab-separated lines and writes a number a line."""

from __future__ import annotations

import math
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cmlm_kd.data.translating.pick import Row
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.text import iterate_lines

_READ_AT_ONCE = 1 << 16

_MOST_BYTES = 256
"""Of a number and its line end; whoever prints more than this for each line is not waited for."""


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
        ended = _run(command, given, printed, _READ_AT_ONCE + _MOST_BYTES * lines)
        numbers = _numbers(command, printed, lines, ended)
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


def _run(command: str, given: Path, printed: Path, most: int) -> bool:
    """Write what the command prints, up to so many bytes, and return whether that was all."""
    try:
        words = shlex.split(command)
        if not words:
            raise ValueError("it is empty")
        with given.open("rb") as stdin:
            process = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scorer {command!r} cannot be started ({first_line(error)}); give a program and its "
            "arguments, or with what only a shell knows: sh -c '...'"
        ) from error
    with process:
        try:
            ended = process.stdout is None or _copy(process.stdout, printed, most)
        except BaseException:
            process.kill()
            raise
        if not ended:  # it reads on behind the end of its input, say, and would fill the disk
            process.kill()
    if ended and process.returncode:
        raise UserError(
            f"--scorer {command!r} failed with exit status {process.returncode}; its own message is above; "
            "mend it and run the same command again: nothing is translated twice"
        )
    return ended


def _copy(stream: IO[bytes], path: Path, most: int) -> bool:
    """Write a stream into a file up to its end, or to more than so many bytes; returns whether it ended."""
    size = 0
    with path.open("wb") as file:
        while size <= most:
            part = stream.read(_READ_AT_ONCE)
            if not part:
                return True
            size += file.write(part)
    return False


def _numbers(command: str, printed: Path, lines: int, ended: bool) -> Iterator[float]:
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
        if not ended and len(values) > lines:
            raise UserError(
                f"--scorer {command!r} went on printing behind the {lines:,} numbers for {lines:,} "
                "hypotheses, and was ended; it must stop at the end of what it reads"
            )
    if len(values) != lines:
        raise UserError(
            f"--scorer {command!r} printed {len(values):,} lines for {lines:,} hypotheses; it must print one "
            "number for each line that it reads"
        )
    return iter(values)
