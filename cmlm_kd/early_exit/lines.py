"""Texts to classify as lines, and what was found of them as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from cmlm_kd.early_exit.prediction import Classified
from cmlm_kd.errors import UserError


def parse_texts(lines: Sequence[str], place: str) -> tuple[list[str], list[str] | None]:
    """Return texts, or the first and the second texts of pairs, from lines of one or of two fields.

    Args:
        lines: ``text`` each, or ``text<TAB>text`` each.
        place: what messages call them.

    Raises:
        UserError: if a line has another number of fields, or a text is empty, naming the line.
    """
    width = lines[0].count("\t") + 1 if lines else 1
    if width > 2:
        raise UserError(f"{place}, line 1: {width} fields; a line is text, or text<TAB>text")
    rows = [line.split("\t") for line in lines]
    for number, fields in enumerate(rows, start=1):
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


def tsv_lines(classified: Classified, labels: Sequence[str]) -> Iterator[str]:
    """Yield a header, then label, exit layer, uncertainty and the probability of each class of every text."""
    yield "\t".join(["label", "exit_layer", "uncertainty", *(f"p({label})" for label in labels)])
    for label, layer, doubt, probabilities in _rows(classified):
        yield "\t".join([label, str(layer), f"{doubt:.6f}", *(f"{value:.6f}" for value in probabilities)])


def json_lines(classified: Classified, labels: Sequence[str]) -> Iterator[str]:
    """Yield an object of the same for every text, without a header."""
    for label, layer, doubt, probabilities in _rows(classified):
        document = {
            "label": label,
            "probabilities": {
                name: round(value, 6) for name, value in zip(labels, probabilities, strict=True)
            },
            "exit_layer": layer,
            "uncertainty": round(doubt, 6),
        }
        yield json.dumps(document, ensure_ascii=False)


def _rows(classified: Classified) -> Iterator[tuple[str, int, float, list[float]]]:
    return zip(
        classified.labels,
        classified.exit_layer.tolist(),
        classified.uncertainty.tolist(),
        classified.probabilities.tolist(),
        strict=True,
    )
