"""Classifiers measured on a labelled set: GLUE's metrics, parameters, speed and predictions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.signals import Ensembling, TeacherSignal
from cmlm_kd.data.classification.class_order import class_order
from cmlm_kd.data.classification.examples import Examples, check_pairs
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.evaluation.glue import measure
from cmlm_kd.models.prediction import Classifier, predict_logits
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.system.files import written_aside
from cmlm_kd.system.text import table

SPEED_BATCHES = (1, 32)
"""Batch sizes at which examples per second are reported."""

SPEED_EXAMPLES = 256
REPEATS = 3


@dataclass(frozen=True)
class Candidate:
    """One model, or an ensemble, to measure.

    Attributes:
        name: what the table calls it.
        models: one or more, all moved to the device already.
        signature: KD signature of a checkpoint, None for one without teacher and for directories.
    """

    name: str
    models: Sequence[Any]
    signature: str | None = None

    @property
    def parameters(self) -> int:
        """Numbers learnt, tied ones once."""
        return sum(parameter.numel() for model in self.models for parameter in model.parameters())


@dataclass(frozen=True)
class Result:
    """What was measured of one candidate.

    Attributes:
        name: of the candidate.
        logits: ``(N, C)`` in the data's order of classes; of an ensemble that averages probabilities, their
            log.
        metrics: name -> value times 100; empty for unlabelled data.
        parameters: numbers learnt.
        speed: batch size -> examples per second, empty where it was not measured.
        signature: of the candidate.
    """

    name: str
    logits: NDArray[np.float32]
    metrics: Mapping[str, float]
    parameters: int
    speed: Mapping[int, float]
    signature: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {
            "name": self.name,
            "metrics": dict(self.metrics),
            "parameters": self.parameters,
            "kd_signature": self.signature,
            "examples_per_second": {str(batch): value for batch, value in self.speed.items()},
        }


@dataclass(frozen=True)
class EvaluationSettings:
    """How to measure.

    Attributes:
        metrics: names in :data:`cmlm_kd.evaluation.glue.METRICS`.
        batch_size: examples at once, for the predictions.
        device: ``cpu`` or ``cuda``.
        bfloat16: whether matrix products run in bfloat16.
        ensembling: how the members of an ensemble become one.
        speed: whether to measure it.
        values: what the corpus's files call the classes.
        model_labels: names of the models' classes, where their own say nothing.
        several: whether those are for several models, see
            :func:`cmlm_kd.data.classification.class_order.class_order`.
    """

    metrics: tuple[str, ...]
    batch_size: int = 32
    device: str = "cpu"
    bfloat16: bool = False
    ensembling: Ensembling = "probabilities"
    speed: bool = True
    values: Mapping[str, str] | None = None
    model_labels: tuple[str, ...] = ()
    several: bool = False


def evaluate_classifier(candidate: Candidate, examples: Examples, settings: EvaluationSettings) -> Result:
    """Measure one candidate.

    Raises:
        UserError: if it was trained on pairs and the data has single sentences or the other way round, its
            classes are not the data's, or its logits are not finite.
    """
    for model in candidate.models:
        check_pairs(examples, model.reads_pairs, f"{candidate.name} reads")
    members = []
    with bfloat16_autocast(settings.bfloat16, settings.device):
        for model in candidate.models:
            order = class_order(
                model.labels,
                examples.labels,
                name=candidate.name,
                values=settings.values,
                given=settings.model_labels,
                several=settings.several,
            )
            logits = predict_logits(model, examples, settings.batch_size, settings.device)
            members.append(torch.from_numpy(logits[:, order]))
        speed = {
            batch: _speed(candidate, examples, batch, settings) for batch in SPEED_BATCHES if settings.speed
        }
    together = _together(members, settings.ensembling if examples.labels else "logits")
    metrics = {} if examples.target is None else measure(together, examples.target, settings.metrics)
    return Result(candidate.name, together, metrics, candidate.parameters, speed, candidate.signature)


def _together(members: Sequence[torch.Tensor], ensembling: Ensembling) -> NDArray[np.float32]:
    signal = TeacherSignal.of_logits(*tuple(members), ensembling=ensembling)
    single = len(members) == 1 or ensembling == "logits"
    logits = signal.logits if single else signal.probabilities().log()
    return np.asarray(logits.numpy(), np.float32)


@torch.inference_mode()
def _speed(candidate: Candidate, examples: Examples, batch_size: int, settings: EvaluationSettings) -> float:
    """Return examples per second, from ids to logits: median of some rounds over the same examples."""
    count = min(len(examples), SPEED_EXAMPLES if batch_size > 1 else SPEED_EXAMPLES // 4)
    rows = np.random.default_rng(1).permutation(len(examples))[:count]
    prepared = []
    for model in candidate.models:
        encoded = EncodedExamples(examples.select(rows), model.inputs)
        prepared.append((model, list(encoded.batches(batch_size, settings.device))))
    for model, batches in prepared:
        model(**batches[-1])  # warms up
    seconds = [_one_round(prepared, settings.device) for _ in range(REPEATS)]
    return count / statistics.median(seconds)


def _one_round(
    prepared: Sequence[tuple[Classifier, Sequence[dict[str, torch.Tensor]]]], device: str
) -> float:
    start = time.perf_counter()
    for model, batches in prepared:
        for batch in batches:
            logits = model(**batch).logits
        if logits is not None and device != "cpu":
            logits.sum().item()  # waits for the device
    return time.perf_counter() - start


def results_table(results: Sequence[Result]) -> str:
    """Return one line a candidate, and the signatures of those that were distilled."""
    metrics, batches = list(results[0].metrics), list(results[0].speed)
    speeds = [f"examples/s, batch {batch}" for batch in batches]
    rows = [["model", *metrics, "parameters", *speeds]]
    for result in results:
        measured = [f"{result.metrics[name]:.2f}" for name in metrics]
        rows.append(
            [
                *(result.name, *measured, f"{result.parameters:,}"),
                *(f"{result.speed[batch]:,.1f}" for batch in batches),
            ]
        )
    signatures = [f"{result.name}: {result.signature}" for result in results if result.signature is not None]
    return "\n".join([table(rows), *signatures]) + "\n"


def write_predictions(path: Path, result: Result, examples: Examples) -> None:
    """Write one line an example: its number, the prediction, what is right, and probabilities of the classes.

    The file appears only when complete.
    """
    names = [f"p({label})" for label in examples.labels]
    header = ["index", "prediction", *(["target"] if examples.target is not None else []), *names]
    truth = examples.target_names() if examples.target is not None else None
    probabilities = torch.from_numpy(result.logits).softmax(-1).tolist()
    with written_aside(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for row, logits in enumerate(result.logits):
            predicted = examples.labels[int(logits.argmax())] if examples.labels else f"{logits[0]:.3f}"
            cells = [str(row), predicted, *([truth[row]] if truth is not None else [])]
            cells += [f"{value:.4f}" for value in probabilities[row]] if examples.labels else []
            file.write("\t".join(cells) + "\n")
