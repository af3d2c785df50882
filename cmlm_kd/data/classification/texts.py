"""Texts that somebody wants classified: read from lines, and refused where a model could not read them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples, SentenceInputs
from cmlm_kd.errors import UserError
from cmlm_kd.system.text import why_not_utf8


@dataclass(frozen=True)
class TextPlace:
    """Where texts are from, for messages.

    Attributes:
        name: the file whose lines they are; empty: texts are counted.
        first: number of the first of them.
    """

    name: str = ""
    first: int = 1

    def text(self, row: int) -> str:
        """Return what messages call the text of a row, counted from 0."""
        number = self.first + row
        return f"{self.name}, line {number}: the text" if self.name else f"text {number}"


def parse_texts(
    lines: Sequence[str], place: str, first: int = 1, width: int | None = None
) -> tuple[list[str], list[str] | None]:
    """Return texts, or the first and the second texts of pairs, from lines of one or of two fields.

    Args:
        lines: ``text`` each, or ``text<TAB>text`` each.
        place: what messages call them.
        first: number of the first line.
        width: fields of the lines before; None where there are none.

    Raises:
        UserError: if a line has another number of fields, or a text is empty, naming the line.
    """
    if width is None:
        width = lines[0].count("\t") + 1 if lines else 1
    if width > 2:
        raise UserError(f"{place}, line {first}: {width} fields; a line is text, or text<TAB>text")
    rows = [line.split("\t") for line in lines]
    for number, fields in enumerate(rows, start=first):
        if len(fields) != width:
            raise UserError(
                f"{place}, line {number}: {len(fields)} fields, but {width} in the first line; all lines are "
                "texts, or all are pairs"
            )
        if not all(field.strip() for field in fields):
            raise UserError(
                f"{place}, line {number}: the text is empty; there is nothing to classify: leave it out"
            )
    return [row[0] for row in rows], [row[1] for row in rows] if width == 2 else None


def examples_of_texts(first: Sequence[str], second: Sequence[str] | None, place: TextPlace) -> Examples:
    """Return texts, or pairs of texts, as examples.

    Raises:
        UserError: they are no lists of strings, of different lengths, or one is empty or no UTF-8, naming it.
    """
    sides = [("first", first)] + ([] if second is None else [("second", second)])
    for name, texts in sides:
        if isinstance(texts, str):
            raise UserError(f"classify: the {name} texts are one string; give a list of strings")
        if len(texts) != len(first):
            raise UserError(f"classify: {len(first)} first texts, but {len(texts)} second ones; give pairs")
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"classify: {place.text(row)} is {type(text).__name__}; give strings")
            side = "" if second is None else f" ({name} of the pair)"
            if reason := why_not_utf8(text):
                raise UserError(f"{place.text(row)}{side}: {reason}")
            if not text.strip():
                raise UserError(
                    f"{place.text(row)}{side} is empty; there is nothing to classify: leave it out"
                )
    return Examples(list(first), None if second is None else list(second), None, (), place.name or "texts")


def encode_texts(
    examples: Examples, inputs: SentenceInputs, truncate: bool, place: TextPlace
) -> EncodedExamples:
    """Return the ids of texts.

    Args:
        examples: what :func:`examples_of_texts` returned, at least one.
        inputs: the model's.
        truncate: cut texts that are too long, instead of refusing them.
        place: where they are from.

    Raises:
        UserError: a text has no token, or without ``truncate`` is too long, naming the first.
    """
    longest = inputs.max_length or np.iinfo(np.int32).max  # 0 stands for any
    if inputs.max_length and not truncate:
        inputs = copy.copy(inputs)
        inputs.max_length += 1  # one token more than fits is enough to tell what is too long
    encoded = EncodedExamples(examples, inputs)
    for row, sentence in encoded.empty:
        side = "" if examples.second is None else f" ({('first', 'second')[sentence]} of the pair)"
        text = (examples.first, examples.second or ())[sentence][row]
        raise UserError(
            f"{place.text(row)}{side} is {text[:40]!r}, of which the tokenizer leaves nothing; there is "
            "nothing to classify: leave it out"
        )
    too_long = np.flatnonzero(encoded.sizes > longest)  # (n,)
    if len(too_long):
        others = f" (so are others, {len(too_long)} in all)" if len(too_long) > 1 else ""
        raise UserError(
            f"{place.text(int(too_long[0]))} is longer than the {longest} tokens that the model takes"
            f"{others}; shorten it, or pass --truncate to cut it"
        )
    return encoded
