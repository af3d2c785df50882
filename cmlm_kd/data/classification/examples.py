"""The examples of a classification or regression corpus."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import NOT_NEGATIVE, check_range

logger = logging.getLogger(__name__)

_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class Examples:
    """Sentences, or pairs of sentences, with their classes or scores.

    Attributes:
        first: the first, or only, sentence of each example.
        second: the second sentence of each, or None.
        target: ``(N,)`` int64 positions in ``labels``, or float32 scores; None where the corpus does not
            tell.
        labels: names of the classes, in the order of a model's logits; empty for scores.
        source: where they come from, for messages.
        numbers: ``(N,)``, where each stands there; None: one after the other.
        counted: what ``numbers`` count: lines of a file from 1, or rows from 0.
    """

    first: list[str]
    second: list[str] | None
    target: NDArray[np.int64] | NDArray[np.float32] | None
    labels: tuple[str, ...]
    source: str
    numbers: NDArray[np.integer[Any]] | None = None
    counted: Literal["line", "row"] = "row"

    def __post_init__(self) -> None:
        lengths = {
            len(part) for part in (self.first, self.second, self.target, self.numbers) if part is not None
        }
        if len(lengths) > 1:
            raise ValueError(f"Examples: parts of {sorted(lengths)} examples")

    def __len__(self) -> int:
        return len(self.first)

    def select(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Examples:
        """Return the examples ``rows``, in that order."""
        numbers = np.arange(len(self)) if self.numbers is None else self.numbers  # (N,)
        return replace(
            self,
            numbers=numbers[np.asarray(rows, np.int64)],
            first=[self.first[row] for row in rows],
            second=None if self.second is None else [self.second[row] for row in rows],
            target=None if self.target is None else self.target[np.asarray(rows, np.int64)],
        )

    def place(self, row: int) -> str:
        """Return where an example comes from, for messages: file and line, or data set and row."""
        number = row if self.numbers is None else int(self.numbers[row])
        return f"{self.source}, {self.counted} {number}"

    def text_hash(self) -> str:
        """Return a hash of the sentences in their order; targets do not matter to a teacher."""
        digest = hashlib.sha256(b"pairs" if self.second is not None else b"sentences")
        for part in (self.first, self.second or []):
            for sentence in part:
                encoded = sentence.encode()
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()

    def target_names(self) -> list[str]:
        """Return each example's label, or score, as a string.

        Raises:
            ValueError: if there are no targets.
        """
        if self.target is None:
            raise ValueError("Examples: there are no targets")
        if self.labels:
            return [self.labels[int(label)] for label in self.target]
        return [f"{score:.3f}" for score in self.target]


def tell_columns(
    examples: Examples, columns: Sequence[str], label: str, remedy: str, level: int = logging.INFO
) -> None:
    """Say which columns were read as what; warn of one that looks like an index, or the label in words.

    Args:
        examples: what was read.
        columns: name of the column of the sentences, or of the first and the second ones.
        label: name of the column of the labels.
        remedy: what to do about a column that is no sentence.
        level: of the message that names the columns.
    """
    labels = "" if examples.target is None else f", labels from {label}"
    logger.log(level, "%s: sentences are read from %s%s", examples.source, " and ".join(columns), labels)
    for column, sentences in zip(columns, (examples.first, examples.second), strict=False):
        reason = _no_sentences(sentences or [], examples.target)
        if reason:
            logger.warning(
                "%s: %s is read as sentences, but %s; if they are none, %s",
                *(examples.source, column, reason, remedy),
            )


def _no_sentences(sentences: Sequence[str], target: NDArray[Any] | None) -> str:
    """Return why a column is hardly one of sentences; empty where nothing says so."""
    words = [sentence.strip() for sentence in sentences]
    counts = Counter(words)
    if len(counts) == len(words) > 1 and all(map(_INTEGER.fullmatch, words)):
        return f"each is another whole number ({words[0]}, {words[1]}, ...), as of an index"
    if target is None or len(counts) < 2 or min(counts.values()) == 1:
        return ""
    told = set(zip(words, target.tolist(), strict=True))
    if len(told) == len(counts) == len(np.unique(target)):
        return f"each of them ({', '.join(map(repr, list(counts)[:2]))}, ...) goes with a label of its own"
    return ""


def in_usual_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return each of the labels once: by value where all are integers, else in alphabetical order."""
    found = set(labels)
    if all(_INTEGER.fullmatch(label) for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


def check_every_class_occurs(examples: Examples) -> None:
    """Refuse a training set of one class, or without a single example of one of its classes.

    Raises:
        UserError: naming the file and the class.
    """
    if examples.target is None or not examples.labels:
        return
    if len(examples.labels) == 1:
        raise UserError(
            f"{examples.source}: all examples have the label {examples.labels[0]!r}; there is nothing to "
            "learn, so look whether the label is in the last column"
        )
    counts = np.bincount(examples.target.astype(np.int64), minlength=len(examples.labels))  # (C,)
    missing = [label for label, count in zip(examples.labels, counts, strict=True) if not count]
    if missing:
        found = ", ".join(f"{count} of {name!r}" for name, count in zip(examples.labels, counts, strict=True))
        raise UserError(
            f"{examples.source}: no example of class {', '.join(map(repr, missing))} (there are {found}); "
            "add some, or leave the class out of --labels"
        )


def check_pairs(examples: Examples, pairs: bool | None, reader: str) -> None:
    """Refuse pairs for a reader of single sentences, and single sentences for a reader of pairs.

    Args:
        examples: what is to be read.
        pairs: whether pairs are wanted; None: nobody knows.
        reader: who reads them, for the message, such as a training set or a model.

    Raises:
        UserError: naming both.
    """
    if pairs is not None and pairs != (examples.second is not None):
        kinds = "single sentences", "pairs of sentences"
        raise UserError(
            f"{examples.source} has {kinds[not pairs]}, {reader} {kinds[pairs]}; give a set with as many "
            "columns of text"
        )


def hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split a training set at random: what is left to train on, and the share that is held out.

    The split depends on the number of examples, ``share`` and ``seed`` alone; both parts keep the order.

    Raises:
        UserError: if the share is outside (0, 1), or leaves one of the parts empty, or the seed is negative.
    """
    check_range("--hold-out-seed", seed, NOT_NEGATIVE)
    held = round(share * len(examples)) if 0 < share < 1 else 0
    if not 0 < held < len(examples):
        raise UserError(
            f"--hold-out is {share:g}; it must be in (0, 1) and leave at least one of the {len(examples)} "
            f"examples of {examples.source} on each side"
        )
    order = np.random.default_rng(seed).permutation(len(examples))  # (N,)
    return examples.select(np.sort(order[held:])), examples.select(np.sort(order[:held]))


def with_labels(examples: Examples, count: int, seed: int) -> Examples:
    """Draw the examples that keep their labels, in their order.

    Raises:
        UserError: if ``count`` is not in [1, N), so that no example has a label or all have.
    """
    if not 0 < count < len(examples):
        raise UserError(
            f"--labelled is {count}; {examples.source} has {len(examples)} examples: keep the labels of 1 to "
            f"{len(examples) - 1}, or leave --labelled out to keep all"
        )
    # hold_out draws by the same seed from what is left: another stream of it.
    order = np.random.default_rng([seed, 1]).permutation(len(examples))  # (N,)
    return examples.select(np.sort(order[:count]))


def without(examples: Examples, others: Examples) -> Examples:
    """Return the examples that are not among ``others``, which were selected of them."""
    numbers, taken = (
        np.arange(len(part)) if part.numbers is None else part.numbers for part in (examples, others)
    )
    return examples.select(np.flatnonzero(~np.isin(numbers, taken)))
