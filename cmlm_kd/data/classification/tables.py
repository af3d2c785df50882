"""Tab-separated files as the corpora publish them: no quoting, one example a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import iterate_lines


@dataclass(frozen=True)
class Row:
    """One line of a table: its number in the file, from 1, and its fields."""

    line: int
    fields: list[str]


class Table:
    """A tab-separated file with named columns.

    Quotes are text, as in the published files, where they need not come in pairs.

    Args:
        path: plain or gzipped UTF-8.
        columns: names of the columns of a file without a header; empty: the first line has them.
        skip_malformed: leave out lines with another number of columns instead of refusing the file.

    Attributes:
        path: the same.
        columns: names of the columns.
        rows: the lines that hold examples, without blank lines at the end.
        skipped: how many malformed lines were left out.

    Raises:
        UserError: if the file cannot be read, is empty, or a line has another number of columns.
    """

    def __init__(self, path: Path, columns: Sequence[str] = (), *, skip_malformed: bool = False) -> None:
        self.path = path
        lines = _without_blank_end(list(iterate_lines(path)))
        if not lines:
            raise UserError(f"{path} is empty; give a file with one example a line")
        first = lines[0].split("\t")
        has_header = not columns or first == ["index", "sentence"]  # CoLA: test.tsv alone has a header
        self.columns = first if has_header else list(columns)
        self.rows: list[Row] = []
        self.skipped = 0
        for row in _rows(lines, start=int(has_header)):
            if len(row.fields) == len(self.columns):
                self.rows.append(row)
            elif skip_malformed:
                self.skipped += 1
            else:
                raise self._wrong_number(row)
        if not self.rows:
            raise UserError(f"{path} has no example; give a file with one example a line")

    def position(self, column: str) -> int:
        """Return where a column is.

        Raises:
            UserError: if the file has no such column, naming those it has.
        """
        if column not in self.columns:
            raise UserError(
                f"{self.path}, line 1: there is no column {column!r}; the header has "
                f"{', '.join(map(repr, self.columns))}. Is it the file of this --corpus?"
            )
        return self.columns.index(column)

    def _wrong_number(self, row: Row) -> UserError:
        quoted = any(field.startswith('"') != field.endswith('"') or field == '"' for field in row.fields)
        hint = " (quotes are text here: they protect neither tabs nor line ends)" if quoted else ""
        return UserError(
            f"{self.path}, line {row.line}: {len(row.fields)} columns instead of {len(self.columns)} "
            f"({', '.join(self.columns)}){hint}: {_shortened(row.fields)}; correct the line, or leave such "
            "lines out with --skip-malformed-rows"
        )


def _rows(lines: Sequence[str], start: int) -> Iterator[Row]:
    for number, line in enumerate(lines[start:], start + 1):
        yield Row(number, line.split("\t"))


def _without_blank_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _shortened(fields: Sequence[str], longest: int = 60) -> str:
    text = "\\t".join(fields)
    return repr(text if len(text) <= longest else text[:longest] + "...")
