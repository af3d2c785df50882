"""What was found of texts as lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from cmlm_kd.early_exit.prediction import Classified


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
