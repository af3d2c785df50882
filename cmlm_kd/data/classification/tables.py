"""Tab-separated files as the corpora publish them, read and written: no quoting, one example per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.data.classification.corpora import HUGGINGFACE, TEXT, corpus_format
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside
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
            raise UserError(f"{path} is empty; give a file with one example per line")
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
            raise UserError(f"{path} has no example; give a file with one example per line")

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


def write_examples(path: Path, corpus: str, examples: Examples, *, labelled: bool = True) -> None:
    """Write examples as a file that ``--train-file`` takes with the same ``--corpus``.

    Tabs and line ends inside a sentence become spaces. The file appears only when complete. One that is not
    ``labelled`` is read with ``--unlabelled``.

    Raises:
        UserError: for ``huggingface``, whose datasets are no files.
    """
    if corpus == HUGGINGFACE:
        raise UserError("a saved dataset cannot be written as a file; take --corpus text")
    if corpus == TEXT:
        header, columns = [], ["first", "label"] if examples.second is None else ["first", "second", "label"]
        names = dict(first="first", second="second", label="label")
        spelled = {name: name for name in examples.labels}
    else:
        form = corpus_format(corpus)
        names = dict(first=form.first, second=form.second, label=form.label)
        columns = list(form.columns) or [form.first, *([form.second] if form.second else []), form.label]
        header = [] if form.columns else columns
        spelled = {name: value for value, name in form.classes.items()}
    values = {names["first"]: examples.first}
    if examples.second is not None:
        values[names["second"]] = examples.second
    if labelled:
        values[names["label"]] = [spelled.get(name, name) for name in examples.target_names()]
    elif header or corpus == TEXT:
        columns.remove(names["label"])  # a file without a header has all columns, this one empty
    empty = [""] * len(examples)
    rows = zip(*(values.get(column, empty) for column in columns), strict=True)
    with written_aside(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        if header:
            file.write("\t".join(header) + "\n")
        for row in rows:
            file.write("\t".join(" ".join(value.split()) for value in row) + "\n")
