"""Datasets that Hugging Face's library saved on disk, as examples."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.classification.examples import Examples, in_usual_order, tell_columns
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.data.classification.corpora import ReadingOptions

LABEL_COLUMN = "label"
NO_CLASS = -1
"""What whole numbers have where there is no label, as the test sets on Hugging Face's hub."""
STRINGS = ("string", "large_string", "string_view")
PAIRS = (
    ("sentence1", "sentence2"),
    ("sentence_A", "sentence_B"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
"""Names under which corpora on Hugging Face's hub have pairs of sentences."""
SENTENCES = ("sentence", "text")
"""Names under which they have single ones."""
SPLITS = {"valid": "validation"}
"""Where the library's usual name of a split is not fairseq's."""


def read_saved_dataset(path: Path, split: str, options: ReadingOptions) -> Examples:
    """Read one split of a directory that ``save_to_disk`` wrote.

    The column ``label`` has the class (a ``ClassLabel``, a string or a number) or the score (a float).

    Raises:
        UserError: if there is no such dataset, split or column, a row's label is unknown or missing, or a
            sentence is null or empty.
    """
    dataset = _load(path, split)
    place = f"{path} ({split})"
    texts = _text_columns(dataset, options, place)
    values = _label_values(dataset, options, place)
    kept = _whole_rows(dataset, texts, values, options, place)  # (N,)
    chosen = dataset if len(kept) == len(dataset) else dataset.select(kept)
    sentences = [[str(value) for value in chosen[name]] for name in texts]
    second = sentences[1] if len(texts) == 2 else None
    feature = dataset.features.get(LABEL_COLUMN)
    target = None
    if values is None:
        labels = _named_classes(feature, options, place)
    else:
        labels, target = _targets(feature, [values[row] for row in kept], kept, options, place)
    examples = Examples(sentences[0], second, target, labels, place, kept)
    # A choice of ours is told by the commands, too, which show warnings only.
    is_ours = not options.text_columns and len(_string_columns(dataset)) > len(texts)
    tell_columns(
        examples,
        [repr(name) for name in texts],
        repr(LABEL_COLUMN),
        "name the columns of the sentences with --text-columns",
        logging.WARNING if is_ours else logging.INFO,
    )
    return examples


def _whole_rows(
    dataset: Any, texts: tuple[str, ...], values: list[Any] | None, options: ReadingOptions, place: str
) -> NDArray[np.int64]:
    """Return the rows with all sentences and a label; refuse others, unless they are to be left out."""
    has_text = np.ones(len(dataset), bool)  # (rows,)
    for name in texts:
        has_text &= np.array(
            [value is not None and bool(str(value).strip()) for value in dataset[name]], bool
        )
    has_label = np.array([values is None or values[row] is not None for row in range(len(dataset))], bool)
    lacking = np.flatnonzero(~(has_text & has_label))
    if len(lacking) and not options.skip_malformed:
        row = int(lacking[0])
        if not has_text[row]:
            shown = ", ".join(f"{name} {dataset[name][row]!r}" for name in texts)
            raise UserError(
                f"{place}, row {row}: a sentence is empty ({shown}); correct the row, or leave such rows out "
                "with --skip-malformed-rows"
            )
        given = dataset[LABEL_COLUMN][row]
        as_a_class = "; if -1 is a class, give the labels as strings" if given == NO_CLASS else ""
        raise UserError(
            f"{place}, row {row}: there is no label ({given!r}); correct the row, or leave such rows out "
            f"with --skip-malformed-rows{as_a_class}"
        )
    return np.flatnonzero(has_text & has_label)


def _load(path: Path, split: str) -> Any:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except Exception as error:  # the library raises many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is no dataset saved on disk ({reason}); give the directory that save_to_disk wrote"
        ) from error
    if not isinstance(loaded, DatasetDict):
        if split == "train":
            return loaded
        raise UserError(
            f"{path} holds one dataset without splits, so that there is no {split!r}; save a DatasetDict, or "
            "validate on a part of the training set with --hold-out"
        )
    name = split if split in loaded else SPLITS.get(split, split)
    if name not in loaded:
        raise UserError(f"{path} has no split {split!r}; it has {', '.join(map(repr, loaded))}")
    return loaded[name]


def _text_columns(dataset: Any, options: ReadingOptions, place: str) -> tuple[str, ...]:
    """Return the column of the sentences, or the two of pairs: the user's, or those whose names say so.

    A second column of strings is no second sentence by that alone: many datasets have the label in words
    beside its number, or an index.
    """
    strings = _string_columns(dataset)
    chosen = options.text_columns or _usual_columns(strings)
    # Of others Python's way to show a list, or the label itself, would become the text.
    others = set(chosen) - set(strings)
    if others or len(set(chosen)) != len(chosen) or len(chosen) not in (1, 2):
        raise UserError(
            f"{place}: cannot tell the sentences: columns of strings are "
            f"{', '.join(map(repr, strings)) or 'none'}; name one or two with --text-columns"
        )
    return chosen


def _string_columns(dataset: Any) -> tuple[str, ...]:
    return tuple(
        name
        for name, feature in dataset.features.items()
        if name != LABEL_COLUMN and getattr(feature, "dtype", None) in STRINGS
    )


def _usual_columns(strings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the only column of strings, or those with the names that corpora give to sentences; else ()."""
    if len(strings) == 1:
        return strings
    found = [names for names in (*PAIRS, *((name,) for name in SENTENCES)) if set(names) <= set(strings)]
    return found[0] if found else ()


def _label_values(dataset: Any, options: ReadingOptions, place: str) -> list[Any] | None:
    """Return the label of each row, None where it has none; None where there are no labels at all."""
    from datasets import ClassLabel, Value

    if options.unlabelled:
        return None
    if LABEL_COLUMN not in dataset.features:
        raise UserError(
            f"{place}: there is no column {LABEL_COLUMN!r}; it has {', '.join(map(repr, dataset.features))}; "
            "rename one"
        )
    feature = dataset.features[LABEL_COLUMN]
    if not isinstance(feature, (ClassLabel, Value)):
        raise UserError(
            f"{place}: column {LABEL_COLUMN!r} has values of type {feature}, where a class or a score is "
            "expected; make it one string, number or ClassLabel a row"
        )
    values = [(value.strip() or None) if isinstance(value, str) else value for value in dataset[LABEL_COLUMN]]
    if "int" in feature.dtype and not options.regression:
        values = [None if value == NO_CLASS else value for value in values]
    return None if options.label_optional and all(value is None for value in values) else values


def _named_classes(feature: Any, options: ReadingOptions, place: str) -> tuple[str, ...]:
    """Return the classes' names where no row tells them."""
    named = options.labels or tuple(getattr(feature, "names", ()))
    if not named and not options.regression:
        raise UserError(
            f"{place}: without labels nothing says which classes there are; name them with --labels, or cast "
            f"the column {LABEL_COLUMN!r} to ClassLabel"
        )
    return named


def _targets(
    feature: Any, values: list[Any], rows: NDArray[np.int64], options: ReadingOptions, place: str
) -> tuple[tuple[str, ...], NDArray[np.int64] | NDArray[np.float32]]:
    """Return the classes' names and the targets.

    Args:
        feature: of the column of labels.
        values: each row's label.
        rows: their numbers, for messages.
        options: how to read.
        place: for messages.
    """
    if options.regression or feature.dtype.startswith("float"):
        scores = _scores(values, rows, place)  # (N,)
        if not options.regression and len(scores) and (scores == scores.round()).all():
            raise UserError(
                f"{place}: the labels are whole numbers in a column of floats, as pandas makes of classes "
                "where one was missing; cast the column to int64 or ClassLabel, or pass --regression if they "
                "are scores"
            )
        return (), scores
    known = tuple(getattr(feature, "names", ()))
    if known:
        _check_numbers(values, known, rows, place)
    names = [known[value] if known else str(value) for value in values]
    labels = options.labels or known or in_usual_order(names)
    index = {name: position for position, name in enumerate(labels)}
    for row, name in zip(rows, names, strict=True):
        if name not in index:
            raise UserError(
                f"{place}, row {row}: label {name!r} is none of {', '.join(map(repr, labels))}; correct the "
                "row, or name all classes: in training with --labels, to evaluate a model with --model-labels"
            )
    return labels, np.array([index[name] for name in names], np.int64)  # (N,)


def _check_numbers(values: list[Any], names: tuple[str, ...], rows: NDArray[np.int64], place: str) -> None:
    """Refuse numbers of classes that have no name, which ``cast_column`` lets through."""
    for row, value in zip(rows, values, strict=True):
        if not 0 <= value < len(names):
            raise UserError(
                f"{place}, row {row}: label {value} has no name; the column names {len(names)} classes, "
                f"{', '.join(map(repr, names))}; correct the row, or name all of them in its ClassLabel"
            )


def _scores(values: list[Any], rows: NDArray[np.int64], place: str) -> NDArray[np.float32]:
    scores = np.array([_number(value) for value in values], np.float32)  # (N,)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise UserError(
            f"{place}, row {rows[wrong[0]]}: score {values[wrong[0]]!r} is not a number; correct the row"
        )
    return scores


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
