"""Text: files read strictly, what is wrong named with its file and line, and tables to print."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from itertools import zip_longest
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.git_lfs import refuse_pointer

_READ_AT_ONCE = 1 << 16


def comma_separated(text: str) -> tuple[str, ...]:
    """Return what stands between commas, without the space around it and without empty parts."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; see :func:`iterate_lines`."""
    return list(iterate_lines(path))


def iterate_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text file, plain or gzipped, without their line ends.

    Only line feeds end a line (carriage returns before them are dropped), so a form feed or a Unicode line
    separator inside a sentence cannot shift the pairing of two files. A byte order mark at the beginning is
    dropped.

    Raises:
        UserError: if the file is missing, cannot be read or is not UTF-8.
    """
    with _reading(path) as stream:
        yield from decoded_lines(stream, str(path))


def iterate_parts(path: Path, most_bytes: int) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and the line; one longer than ``most_bytes`` in several parts.

    Such a line is parted behind a space, or between two characters where a part has no space, so that no
    file needs more memory than that. Otherwise as :func:`iterate_lines`.
    """
    with _reading(path) as stream:
        for number, part in _parts(stream, most_bytes):
            yield number, _without_end(_decode(part, str(path), number))


@contextmanager
def _reading(path: Path) -> Iterator[BufferedIOBase]:
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UserError(f"{path} {problem}; give a text file, plain or gzipped")
    refuse_pointer(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); copy the file again") from error


def _parts(stream: BufferedIOBase, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines, or their parts of about ``most_bytes``, each with the number of its line."""
    rest, number = b"", 1
    while read := stream.readline(most_bytes):
        line, rest = rest + read, b""
        if len(read) == most_bytes and not read.endswith(b"\n"):
            cut = _last_break(line)
            line, rest = line[:cut], line[cut:]
        yield number, line
        number += read.endswith(b"\n")
    if rest:
        yield number, rest


def _last_break(line: bytes) -> int:
    """Return where to part a line: behind its last space, else before its last character."""
    cut = max(line.rfind(b" "), line.rfind(b"\t")) + 1
    if cut:
        return cut
    cut = len(line) - 1
    while cut > 0 and line[cut] & 0xC0 == 0x80:  # inside a character
        cut -= 1
    return cut or len(line)


def decoded_lines(stream: Iterable[bytes], place: str) -> Iterator[str]:
    """Yield the lines of a binary stream, such as standard input; see :func:`iterate_lines`.

    Args:
        stream: gives a line at a time.
        place: what messages call it.

    Raises:
        UserError: if it is not UTF-8.
    """
    for number, line in enumerate(stream, 1):
        yield _without_end(_decode(line, place, number))


def lines_as_they_come(stream: BufferedIOBase, place: str, most: int) -> Iterator[list[str]]:
    """Yield the lines of a binary stream as soon as they are there, several at a time where several are.

    Args:
        stream: such as standard input, a pipe or a file.
        place: what messages call it.
        most: lines at a time, at least 1.

    Raises:
        UserError: if it is not UTF-8; lines before that one have been yielded.
    """
    rest, number = b"", 1
    while read := stream.read1(_READ_AT_ONCE):
        *lines, rest = (rest + read).split(b"\n")
        for start in range(0, len(lines), most):
            part: list[str] = []
            for line in lines[start : start + most]:
                try:
                    part.append(_without_end(_decode(line, place, number)))
                except UserError:
                    if part:
                        yield part  # what was there before is answered first
                    raise
                number += 1
            yield part
    if rest:
        yield [_without_end(_decode(rest, place, number))]


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _decode(line: bytes, place: str, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; "
            "convert the text, for example with 'iconv -t utf-8', if it is one"
        ) from None


def why_not_utf8(text: str) -> str:
    """Return why a string cannot be written as UTF-8, and what to do; empty where it can.

    Python's reader of JSON, and the names of files, make halves of surrogate pairs, which no tokenizer takes.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        return f"character {error.start + 1} is {half}, half of a surrogate pair; send the whole character"
    return ""


def flush_output() -> None:
    """Print what is still to be printed, so that what goes wrong is told now.

    Raises:
        OSError: with a name, which standard output's own has not: its disk is full, for example.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def find_side(prefix: str, language: str) -> Path:
    """Return ``PREFIX.LANG`` or ``PREFIX.LANG.gz``, whichever exists.

    Raises:
        UserError: if neither exists.
    """
    for suffix in ("", ".gz"):
        path = Path(f"{prefix}.{language}{suffix}")
        if path.is_file():
            return path
    raise UserError(
        f"neither {prefix}.{language} nor {prefix}.{language}.gz exists; give the prefix of existing files"
    )


def iterate_pairs(prefix: str, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of ``PREFIX.SRC`` and ``PREFIX.TGT``.

    Raises:
        UserError: if the line counts differ (once the shorter file ends), there is no line, or a file is
            missing or is not UTF-8.
    """
    source, target = (find_side(prefix, language) for language in languages)
    lines = [0, 0]
    for pair in zip_longest(iterate_lines(source), iterate_lines(target)):
        lines = [count + (line is not None) for count, line in zip(lines, pair, strict=True)]
        if lines[0] == lines[1]:
            yield pair  # type: ignore[misc]
    if lines[0] != lines[1]:
        raise UserError(
            f"{source} has {lines[0]} lines but {target} has {lines[1]}; "
            "parallel text needs one translation per line, so find where the two files part"
        )
    if not lines[0]:
        raise UserError(f"{source} and {target} are empty; give text with at least one pair")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns that Markdown shows as a table; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        return "| " + " | ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(rows[0]), rule, *(line(row) for row in rows[1:])])
