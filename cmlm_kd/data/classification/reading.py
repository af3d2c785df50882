"""Reading corpora: GLUE's folders and SICK as published, plain text, datasets saved on disk."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.classification.corpora import (
    GLUE_FILES,
    HUGGINGFACE,
    TEXT,
    CorpusFormat,
    ReadingOptions,
    corpus_format,
)
from cmlm_kd.data.classification.examples import Examples, in_usual_order, tell_columns
from cmlm_kd.data.classification.tables import Row, Table
from cmlm_kd.errors import UserError

logger = logging.getLogger(__name__)
TEXT_COLUMNS = {2: ("text", "label"), 3: ("text", "second text", "label")}


def read_examples(data: Path, split: str, options: ReadingOptions, file: str = "") -> Examples:
    """Read one split of a corpus.

    Args:
        data: its folder, or for ``huggingface`` the directory of ``save_to_disk``.
        split: ``train``, ``valid``, ``test``, or the name of another file or split.
        options: how to read it.
        file: the split's file, relative to the folder, where it is not the published name.

    Raises:
        UserError: naming file and line of what does not fit, or for a file of ``huggingface``.
    """
    if options.corpus == HUGGINGFACE:
        if file:
            raise UserError(
                f"{data}: a dataset saved on disk has splits, no files such as {file!r}; read that file with "
                f"--corpus {TEXT}, or save its examples as a split"
            )
        from cmlm_kd.data.classification.saved_datasets import read_saved_dataset

        return read_saved_dataset(data, split, options)
    if options.corpus == TEXT:
        path = _existing(data, file or GLUE_FILES.get(split, f"{split}.tsv"), split)
        examples = _read_text(path, options)
        *columns, label = [f"column {number}" for number in (1, 2, 3)[: 2 if examples.second is None else 3]]
        tell_columns(examples, columns, label, "take the column out of the file")
        return examples
    form = corpus_format(options.corpus)
    if options.regression and not form.is_regression:
        raise UserError(f"--regression: {form.name} has classes ({', '.join(form.classes.values())})")
    return _read_table(_existing(data, file or form.files.get(split, f"{split}.tsv"), split), form, options)


def _existing(folder: Path, name: str, split: str) -> Path:
    """Return a file of a corpus, or the same with ``.gz``.

    Raises:
        UserError: neither is there.
    """
    path = folder / name
    gzipped = path.with_name(path.name + ".gz")
    if path.is_file() or not gzipped.is_file():
        if path.exists() or split != "valid":
            return path  # what is wrong with it, if anything, is said by what reads it
        raise UserError(
            f"{path} does not exist; give a text file, plain or gzipped, or in training validate on a part "
            "of the training set with --hold-out 0.1"
        )
    return gzipped


def _read_table(path: Path, form: CorpusFormat, options: ReadingOptions) -> Examples:
    table = Table(path, form.columns, skip_malformed=options.skip_malformed)
    first, second = (table.position(column) if column else None for column in (form.first, form.second))
    missing = options.label_optional and form.label not in table.columns
    label = None if options.unlabelled or missing else table.position(form.label)
    labels = () if form.is_regression else _label_names(form.classes, options.labels)
    spelled = {value: name for value, name in form.classes.items() if name in labels}
    return _examples(table, (first, second, label), labels, spelled, form.scores)


def _read_text(path: Path, options: ReadingOptions) -> Examples:
    """Read a headerless file of two or three columns, or without labels of one or two."""
    from cmlm_kd.system.text import iterate_lines

    width = next(iter(iterate_lines(path)), "").count("\t") + 1
    if options.unlabelled or (options.label_optional and _lacks_labels(path, width, options)):
        return _read_unlabelled_text(path, width, options)
    if width not in TEXT_COLUMNS:
        raise UserError(
            f"{path}, line 1: {width} columns; a line is text<TAB>label, or text<TAB>text<TAB>label"
        )
    table = Table(path, TEXT_COLUMNS[width], skip_malformed=options.skip_malformed)
    _without_gaps(table, options)
    second = 1 if width == 3 else None
    if options.regression:
        return _examples(table, (0, second, width - 1), (), {}, (-math.inf, math.inf))
    if not options.labels:
        _hint_at_header(table)
    labels = options.labels or in_usual_order(row.fields[-1].strip() for row in table.rows)
    return _examples(table, (0, second, width - 1), labels, {name: name for name in labels}, None)


def _lacks_labels(path: Path, width: int, options: ReadingOptions) -> bool:
    """Return whether lines of plain text have sentences alone, as test sets have.

    A line of one column has no room for a label. One of two has none where the model reads pairs, or where no
    line ends in one of the classes.
    """
    from cmlm_kd.system.text import iterate_lines

    if width != 2 or options.pairs is not None:
        return width == 1 or (width == 2 and bool(options.pairs))
    ends = {line.rpartition("\t")[2].strip() for line in iterate_lines(path)}
    return bool(options.labels) and ends.isdisjoint(options.labels)


def _read_unlabelled_text(path: Path, width: int, options: ReadingOptions) -> Examples:
    if width > 2:
        raise UserError(f"{path}, line 1: {width} columns; a line without label is text or text<TAB>text")
    if not options.labels and not options.regression:
        raise UserError(
            f"{path}: without labels nothing says which classes there are; name them with --labels"
        )
    table = Table(path, TEXT_COLUMNS[width + 1][:width], skip_malformed=options.skip_malformed)
    _without_gaps(table, options)
    return _examples(table, (0, 1 if width == 2 else None, None), options.labels, {}, None)


def _without_gaps(table: Table, options: ReadingOptions) -> None:
    """Refuse lines of plain text that lack a sentence or a label, or leave them out."""
    kept = []
    for row in table.rows:
        missing = [name for name, field in zip(table.columns, row.fields, strict=True) if not field.strip()]
        if not missing:
            kept.append(row)
        elif not options.skip_malformed:
            raise UserError(
                f"{table.path}, line {row.line}: the {missing[0]} is empty; correct the line, or leave such "
                "lines out with --skip-malformed-rows"
            )
    if not kept:
        raise UserError(f"{table.path} has no example; give a file with one example per line")
    table.rows = kept


def _hint_at_header(table: Table) -> None:
    """Warn of a first line whose class is no other line's, where every other class has several lines."""
    first = table.rows[0].fields[-1].strip()
    counts = Counter(row.fields[-1].strip() for row in table.rows)
    if counts.pop(first) == 1 and counts and min(counts.values()) > 1:
        logger.warning(
            "%s, line %d: no other line has the class %r; if this is a header, take it out of the file",
            *(table.path, table.rows[0].line, first),
        )


def _label_names(classes: Mapping[str, str], chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes' names, in the order that the user chose."""
    names = tuple(classes.values())
    if chosen and set(chosen) - set(names):
        raise UserError(
            f"--labels {','.join(chosen)}: {', '.join(map(repr, sorted(set(chosen) - set(names))))} is no "
            f"class of this corpus, which has {', '.join(map(repr, names))}"
        )
    return chosen or names


def _examples(
    table: Table,
    positions: tuple[int | None, int | None, int | None],
    labels: tuple[str, ...],
    spelled: Mapping[str, str],
    scores: tuple[float, float] | None,
) -> Examples:
    """Return the examples of a table.

    Args:
        table: what was read.
        positions: columns of the sentences and the label, None for what is not there.
        labels: names of the classes.
        spelled: a label as in the file -> its name.
        scores: lowest and highest score, None for classes.
    """
    first, second, label = positions
    target: NDArray[np.int64] | NDArray[np.float32] | None = None
    if label is not None and scores is not None:
        target = np.array([_score(table, row, label, scores) for row in table.rows], np.float32)  # (N,)
    elif label is not None:
        index = {value: labels.index(name) for value, name in spelled.items()}
        target = np.array([_class(table, row, label, index) for row in table.rows], np.int64)  # (N,)
    return Examples(
        [row.fields[first or 0] for row in table.rows],
        None if second is None else [row.fields[second] for row in table.rows],
        target,
        labels,
        str(table.path),
        np.array([row.line for row in table.rows], np.int64),
        "line",
    )


def _class(table: Table, row: Row, column: int, index: Mapping[str, int]) -> int:
    value = row.fields[column].strip()
    if value not in index:
        raise UserError(
            f"{table.path}, line {row.line}: label {value!r} is none of {_listed(list(index))}; correct the "
            "line, or name all classes: in training with --labels, to evaluate a model with --model-labels"
        )
    return index[value]


def _score(table: Table, row: Row, column: int, allowed: tuple[float, float]) -> float:
    try:
        score = float(row.fields[column])
    except ValueError:
        score = math.nan
    lowest, highest = allowed
    if not (math.isfinite(score) and lowest <= score <= highest):
        span = "a number" if math.isinf(lowest) else f"a number from {lowest:g} to {highest:g}"
        raise UserError(
            f"{table.path}, line {row.line}: score {row.fields[column]!r} is not {span}; correct the line"
        )
    return score


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
