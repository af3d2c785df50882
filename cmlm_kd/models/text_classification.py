"""Any classifier on texts: labels and probabilities, or scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.data.classification.examples import check_pairs
from cmlm_kd.data.classification.texts import TextPlace, encode_texts, examples_of_texts
from cmlm_kd.errors import UserError
from cmlm_kd.models.prediction import Classifier


@dataclass(frozen=True)
class ClassifiedTexts:
    """How texts were classified, in their order.

    Attributes:
        labels: name of each text's class; empty for a model that gives scores.
        values: ``(N, C)`` probabilities; ``(N, 1)`` scores.
        logits: ``(N, C)``, what they were made of.
    """

    labels: list[str]
    values: NDArray[np.float32]
    logits: NDArray[np.float32]


@torch.inference_mode()
def classify_texts(
    model: Classifier,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    *,
    batch_size: int = 32,
    truncate: bool = False,
    device: str = "cpu",
    place: TextPlace | None = None,
) -> ClassifiedTexts:
    """Classify texts, or pairs of texts; batches hold texts of equal length, as far as there are any.

    Args:
        model: moved to the device already, in evaluation mode.
        first: the texts, or the first ones of pairs.
        second: the second ones of pairs.
        batch_size: texts at once, at least 1.
        truncate: cut texts that are too long, instead of refusing them.
        device: where to compute.
        place: where the texts are from, for messages.

    Raises:
        UserError: single texts where it was trained on pairs or the other way round, a text that is empty or
            too long, or a model that gives no finite numbers.
    """
    place = place or TextPlace()
    examples = examples_of_texts(first, second, place)
    classes = len(model.labels) or 1
    if not examples.first:
        nothing = np.empty((0, classes), np.float32)
        return ClassifiedTexts([], nothing, nothing)
    check_pairs(examples, model.reads_pairs, "the model reads")
    encoded = encode_texts(examples, model.inputs, truncate, place)
    parts = [model(**batch).sentence_logits().float().cpu() for batch in encoded.batches(batch_size, device)]
    logits = torch.cat(parts)[torch.from_numpy(encoded.by_length().argsort())]  # (N, C)
    wrong = torch.nonzero(~logits.isfinite().all(1)).flatten()  # (n,)
    if len(wrong):
        raise UserError(
            f"{place.text(int(wrong[0]))}: its logits are {logits[wrong[0]].tolist()}, which are not finite: "
            "the model's training has diverged; take an earlier checkpoint"
        )
    if not model.labels:
        return ClassifiedTexts([], logits.numpy(), logits.numpy())
    labels = [model.labels[best] for best in logits.argmax(1).tolist()]
    return ClassifiedTexts(labels, logits.softmax(1).numpy(), logits.numpy())
