"""Datasets that Hugging Face's library saved on disk, as examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.classification.examples import Examples, in_usual_order
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.data.classification.corpora import ReadingOptions

LABEL_COLUMN = "label"
SPLITS = {"valid": "validation"}
"""Where the library's usual name of a split is not fairseq's."""


def read_saved_dataset(path: Path, split: str, options: ReadingOptions) -> Examples:
    """Read one split of a directory that ``save_to_disk`` wrote.

    The column ``label`` has the class (a ``ClassLabel``, a string or a number) or the score (a float).

    Raises:
        UserError: if there is no such dataset, split or column, a row's label is unknown, or a sentence is
            null or empty.
    """
    dataset = _load(path, split)
    place = f"{path} ({split})"
    texts = _text_columns(dataset, options, place)
    kept = _rows_with_text(dataset, texts, options, place)  # (N,)
    chosen = dataset if len(kept) == len(dataset) else dataset.select(kept)
    sentences = [[str(value) for value in chosen[name]] for name in texts]
    labels, target = _targets(chosen, kept, options, place)
    return Examples(sentences[0], sentences[1] if len(texts) == 2 else None, target, labels, place, kept)


def _rows_with_text(
    dataset: Any, texts: tuple[str, ...], options: ReadingOptions, place: str
) -> NDArray[np.int64]:
    """Return the rows that have all sentences; refuse the others, unless they are to be left out."""
    has_text = np.ones(len(dataset), bool)  # (rows,)
    for name in texts:
        has_text &= np.array(
            [value is not None and bool(str(value).strip()) for value in dataset[name]], bool
        )
    lacking = np.flatnonzero(~has_text)
    if len(lacking) and not options.skip_malformed:
        row = int(lacking[0])
        shown = ", ".join(f"{name} {dataset[name][row]!r}" for name in texts)
        raise UserError(
            f"{place}, row {row}: a sentence is empty ({shown}); correct the row, or leave such rows out "
            "with --skip-malformed-rows"
        )
    return np.flatnonzero(has_text)


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
    strings = tuple(
        name
        for name, feature in dataset.features.items()
        if name != LABEL_COLUMN and getattr(feature, "dtype", None) in ("string", "large_string")
    )
    chosen = options.text_columns or strings
    missing = [name for name in chosen if name not in dataset.features]
    if missing or len(chosen) not in (1, 2):
        raise UserError(
            f"{place}: cannot tell the sentences: columns of strings are "
            f"{', '.join(map(repr, strings)) or 'none'}; name one or two with --text-columns"
        )
    return chosen


def _targets(
    dataset: Any, rows: NDArray[np.int64], options: ReadingOptions, place: str
) -> tuple[tuple[str, ...], NDArray[np.int64] | NDArray[np.float32] | None]:
    """Return the classes' names and the targets; ``rows`` are the rows' numbers, for messages."""
    from datasets import ClassLabel

    if options.unlabelled:
        named = options.labels or tuple(getattr(dataset.features.get(LABEL_COLUMN), "names", ()))
        if not named and not options.regression:
            raise UserError(
                f"{place}: without labels nothing says which classes there are; name them with --labels"
            )
        return named, None
    if LABEL_COLUMN not in dataset.features:
        raise UserError(
            f"{place}: there is no column {LABEL_COLUMN!r}; it has {', '.join(map(repr, dataset.features))}; "
            "rename one"
        )
    feature, values = dataset.features[LABEL_COLUMN], list(dataset[LABEL_COLUMN])
    if options.regression or str(feature.dtype).startswith("float"):
        return (), _scores(values, rows, place)
    if isinstance(feature, ClassLabel):
        if options.label_optional and all(value in (-1, None) for value in values):
            return options.labels or tuple(feature.names), None
        values = [feature.int2str(value) if value not in (-1, None) else None for value in values]
    names = [None if value is None else str(value) for value in values]
    known = tuple(feature.names) if isinstance(feature, ClassLabel) else in_usual_order(n for n in names if n)
    labels = options.labels or known
    index = {name: position for position, name in enumerate(labels)}
    for row, name in zip(rows, names, strict=True):
        if name not in index:
            raise UserError(
                f"{place}, row {row}: label {name!r} is none of {', '.join(map(repr, labels))}; correct the "
                "row, or name all classes with --labels"
            )
    return labels, np.array([index[str(name)] for name in names], np.int64)  # (N,)


def _scores(values: list[Any], rows: NDArray[np.int64], place: str) -> NDArray[np.float32]:
    scores = np.array([np.nan if value is None else float(value) for value in values], np.float32)  # (N,)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise UserError(
            f"{place}, row {rows[wrong[0]]}: score {values[wrong[0]]!r} is not a number; correct the row"
        )
    return scores
