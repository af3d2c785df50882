"""Classifying with a FastBERT: an input leaves after the first layer whose prediction is certain enough.

A prediction is certain enough when its uncertainty, the normalised entropy in [0, 1], is at most ``speed``.
At speed 0 no branch is run: every input goes through all layers, and the answer is the teacher classifier's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.data.classification.examples import Examples, check_pairs
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.data.classification.texts import TextPlace, encode_texts, examples_of_texts
from cmlm_kd.early_exit.exits import check_distilled, check_speed, exit_early
from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import widen
from cmlm_kd.models.fastbert.branch import uncertainty
from cmlm_kd.models.fastbert.model import FastBERTClassifier

DEFAULT_SPEED = 0.5
"""The released code's, for models without a calibrated one."""


@dataclass(frozen=True)
class Classified:
    """How texts were classified, in their order.

    Attributes:
        labels: name of each text's class.
        probabilities: ``(N, C)``.
        exit_layer: ``(N,)``, from 1.
        uncertainty: ``(N,)``, in [0, 1].
    """

    labels: list[str]
    probabilities: NDArray[np.float32]
    exit_layer: NDArray[np.int64]
    uncertainty: NDArray[np.float32]


@dataclass(frozen=True)
class EveryLayer:
    """What every layer's classifier says of examples: what a threshold is chosen by.

    Attributes:
        predictions: ``(N, L)`` int64, classes as positions in the model's labels.
        uncertainty: ``(N, L)``, in [0, 1].
    """

    predictions: NDArray[np.int64]
    uncertainty: NDArray[np.float32]


def classify(
    model: FastBERTClassifier,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    *,
    speed: float | None = None,
    batch_size: int = 32,
    truncate: bool = False,
    device: str = "cpu",
    place: str | TextPlace = "",
) -> Classified:
    """Classify texts, or pairs of texts; batches hold texts of equal length, as far as there are any.

    Args:
        model: moved to the device already.
        first: the texts, or the first ones of pairs.
        second: the second ones of pairs.
        speed: threshold in [0, 1]; None: the model's calibrated one, or 0.5.
        batch_size: texts at once.
        truncate: cut texts that are too long, instead of refusing them.
        device: where to compute.
        place: the file whose lines the texts are, for messages; empty: texts are counted.

    Raises:
        UserError: for a threshold outside [0, 1], a model that was not self-distilled, single texts where it
            was trained on pairs or the other way round, or a text that is empty or too long.
    """
    if speed is None:
        speed = DEFAULT_SPEED if model.speed is None else model.speed
    check_speed(model, speed)
    where = place if isinstance(place, TextPlace) else TextPlace(place)
    examples = examples_of_texts(first, second, where)
    if not examples.first:
        nothing = np.empty(0, np.float32)  # (0,)
        classes = len(model.labels)
        return Classified([], np.empty((0, classes), np.float32), np.empty(0, np.int64), nothing)
    check_pairs(examples, model.reads_pairs, "the model reads")
    encoded = encode_texts(examples, model.inputs, truncate, where)
    parts = [exit_early(model, **batch, speed=speed) for batch in encoded.batches(batch_size, device)]
    back = encoded.by_length().argsort()  # (N,)
    probabilities = torch.cat([part.probabilities for part in parts]).float().cpu().numpy()[back]  # (N, C)
    wrong = np.flatnonzero(~np.isfinite(probabilities).all(1))  # (n,)
    if len(wrong):
        raise UserError(
            f"{where.text(int(wrong[0]))}: its probabilities are {probabilities[wrong[0]].tolist()}, "
            "which are not finite: its training has diverged; take an earlier checkpoint"
        )
    return Classified(
        [model.labels[best] for best in probabilities.argmax(1)],
        probabilities,
        torch.cat([part.exit_layer for part in parts]).cpu().numpy()[back],
        torch.cat([part.uncertainty for part in parts]).float().cpu().numpy()[back],
    )


@torch.inference_mode()
def classify_at_every_layer(
    model: FastBERTClassifier, examples: Examples, batch_size: int = 32, device: str = "cpu"
) -> EveryLayer:
    """Return what every layer's classifier says of every example; see :mod:`cmlm_kd.early_exit.calibration`.

    Raises:
        UserError: if the model was not self-distilled.
    """
    check_distilled(model)
    model.eval()
    encoded = EncodedExamples(examples, model.inputs)
    logits = [widen(model.all_logits(**batch)).cpu() for batch in encoded.batches(batch_size, device)]
    back = encoded.by_length().argsort()  # (N,)
    together = torch.cat(logits, 1).transpose(0, 1)  # (N, L, C)
    if not together.isfinite().all():
        layer = int((~together.isfinite()).any(-1).any(0).int().argmax()) + 1
        raise UserError(
            f"the logits of layer {layer} are not finite: the model's training has diverged; take an earlier "
            "checkpoint"
        )
    return EveryLayer(
        together.argmax(-1).numpy()[back], uncertainty(together).to(torch.float32).numpy()[back]
    )
