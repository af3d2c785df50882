"""Accuracy and operations of early exits on labelled examples: at thresholds, at fixed layers, in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.classification.class_order import class_order
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.early_exit.calibration import ExitCurve, exit_curve
from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.early_exit.prediction import EveryLayer, classify_at_every_layer
from cmlm_kd.errors import UserError
from cmlm_kd.models.fastbert.model import FastBERTClassifier
from cmlm_kd.system.text import table


@dataclass(frozen=True)
class LabelledExits:
    """What every layer says of labelled examples, and what layers cost.

    Attributes:
        every: predictions and uncertainties, ``(N, L)`` each.
        target: ``(N,)`` classes as positions in the model's labels.
        flops: operations of the model's parts.
        labels: of the model.
    """

    every: EveryLayer
    target: NDArray[np.int64]
    flops: FlopCount
    labels: tuple[str, ...]

    def curve(self) -> ExitCurve:
        """Return accuracy and speed-up at every threshold where they change."""
        return exit_curve(self.every.uncertainty, self.every.predictions, self.target, self.flops)


@dataclass(frozen=True)
class ExitChoice:
    """One way to leave a model, measured.

    Attributes:
        name: what the table calls it.
        accuracy: in [0, 1].
        operations: mean of an input, as the paper counts them.
        speedup: operations of all layers and one classifier over these.
        threshold: None where it decides nothing.
        histogram: ``(L,)``, inputs that leave after each layer; None where all of them leave after one.
    """

    name: str
    accuracy: float
    operations: float
    speedup: float
    threshold: float | None = None
    histogram: tuple[int, ...] | None = None

    def to_document(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {**vars(self), "histogram": None if self.histogram is None else list(self.histogram)}


def measure_exits(
    model: FastBERTClassifier,
    examples: Examples,
    *,
    name: str,
    values: Mapping[str, str] | None = None,
    batch_size: int = 32,
    device: str = "cpu",
) -> LabelledExits:
    """Run all layers and classifiers on labelled examples, once.

    Args:
        model: moved to the device already.
        examples: with classes.
        name: the model, for messages.
        values: what the corpus's files call the classes.
        batch_size: examples at once.
        device: where to compute.

    Raises:
        UserError: if the examples have no classes, or not the model's, or the model was not self-distilled.
    """
    if examples.target is None or not examples.labels:
        raise UserError(f"{examples.source} has no classes, by which exits could be measured")
    order = np.array(class_order(model.labels, examples.labels, name=name, values=values))  # (C,)
    every = classify_at_every_layer(model, examples, batch_size, device)
    flops = FlopCount.of(model.config, model.settings.size)
    return LabelledExits(every, order[examples.target], flops, model.labels)


def exit_layers(uncertainty: NDArray[np.floating[Any]], speed: float) -> NDArray[np.int64]:
    """Return the layer after which each input leaves, from 1: ``(N, L)`` -> ``(N,)``.

    Args:
        uncertainty: after every layer, in [0, 1].
        speed: threshold in [0, 1]; 0 is all layers.
    """
    depth = uncertainty.shape[1]
    if speed == 0.0:
        return np.full(len(uncertainty), depth)  # (N,)
    certain = uncertainty[:, :-1] <= speed  # (N, L - 1)
    layers: NDArray[np.int64] = np.where(certain.any(1), certain.argmax(1) + 1, depth)  # (N,)
    return layers


def at_threshold(measured: LabelledExits, speed: float, name: str = "") -> ExitChoice:
    """Measure a threshold in [0, 1]; at 0 no branch runs."""
    flops = measured.flops
    layers = exit_layers(measured.every.uncertainty, speed)  # (N,)
    predicted = measured.every.predictions[np.arange(len(layers)), layers - 1]  # (N,)
    histogram = np.bincount(layers, minlength=flops.layers + 1)[1:]  # (L,)
    operations = float(flops.plain) if speed == 0.0 else flops.mean(histogram)
    return ExitChoice(
        name or f"speed {speed:g}",
        float((predicted == measured.target).mean()),
        operations,
        flops.plain / operations,
        speed,
        tuple(histogram.tolist()),
    )


def all_layers(
    measured: LabelledExits, logits: NDArray[np.floating[Any]], labels: Sequence[str], name: str
) -> ExitChoice:
    """Measure the fine-tuned encoder without branches, which needs all layers and one classifier.

    Args:
        measured: the same examples, of the model with branches.
        logits: ``(N, C)`` of the encoder.
        labels: its classes in the order of its logits.
        name: it, for messages.

    Raises:
        UserError: if its classes are not those of the model with branches.
    """
    order = class_order(labels, measured.labels, name=name)
    right = logits[:, order].argmax(1) == measured.target  # (N,)
    operations = measured.flops.plain
    return ExitChoice("fine-tuned encoder", float(right.mean()), float(operations), 1.0)


def fixed_exit(measured: LabelledExits, layer: int) -> ExitChoice:
    """Measure leaving all inputs after one layer, from 1, whose classifier alone runs."""
    flops = measured.flops
    operations = flops.embeddings + layer * flops.layer + flops.classifier
    right = measured.every.predictions[:, layer - 1] == measured.target  # (N,)
    return ExitChoice(
        f"all after layer {layer}", float(right.mean()), float(operations), flops.plain / operations
    )


def fixed_exits(measured: LabelledExits) -> list[ExitChoice]:
    """Measure leaving all inputs after each layer; see :func:`fixed_exit`."""
    return [fixed_exit(measured, layer) for layer in range(1, measured.flops.layers + 1)]


def choices_table(choices: Sequence[ExitChoice]) -> str:
    """Return the choices as a Markdown table; see :func:`choices_rows`."""
    return table(choices_rows(choices))


def choices_rows(choices: Sequence[ExitChoice]) -> list[list[str]]:
    """Return a heading and a row a choice: accuracy times 100, operations in millions."""
    rows = [["", "threshold", "accuracy", "operations (M)", "speed-up", "mean exit layer"]]
    for choice in choices:
        rows.append(
            [
                choice.name,
                "" if choice.threshold is None else f"{choice.threshold:.4f}",
                f"{100 * choice.accuracy:.2f}",
                f"{choice.operations / 1e6:,.0f}",
                f"{choice.speedup:.2f}",
                _mean_layer(choice),
            ]
        )
    return rows


def _mean_layer(choice: ExitChoice) -> str:
    if choice.histogram is None:
        return ""
    counts = np.array(choice.histogram)  # (L,)
    return f"{counts @ np.arange(1, len(counts) + 1) / counts.sum():.2f}"
