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
from torch import Tensor

from cmlm_kd.classification.examples import Examples
from cmlm_kd.classification.inputs import EncodedExamples, HuggingFaceInputs, SentenceInputs
from cmlm_kd.criteria.fastbert_terms import uncertainty
from cmlm_kd.errors import UserError
from cmlm_kd.losses import widen
from cmlm_kd.students.fastbert import FastBERTClassifier
from cmlm_kd.students.layerwise import run_layer

DEFAULT_SPEED = 0.5
"""The released code's, for models without a calibrated one."""


@dataclass(frozen=True)
class EarlyExits:
    """How the inputs of a batch were classified.

    Attributes:
        probabilities: ``(B, C)``, float32 at least.
        exit_layer: ``(B,)`` int64, from 1: the layer after which the input left.
        uncertainty: ``(B,)`` of the prediction there, in [0, 1].
    """

    probabilities: Tensor
    exit_layer: Tensor
    uncertainty: Tensor


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


def check_speed(model: FastBERTClassifier, speed: float) -> None:
    """Refuse a threshold that means nothing, or a model whose branches were not trained.

    Raises:
        UserError: naming the threshold or the model.
    """
    if not 0.0 <= speed <= 1.0:  # NaN too
        raise UserError(
            f"--speed is {speed}; it is an uncertainty and must be in [0, 1]: 0 runs all layers, 1 the first "
            "one alone"
        )
    if speed > 0.0 and model.stage != "branches":
        raise UserError(
            f"--speed is {speed}, but the model was not self-distilled: its branches are random; train them "
            "with --criterion fastbert_kd, or pass --speed 0 for all layers"
        )


@torch.inference_mode()
def exit_early(
    model: FastBERTClassifier,
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor,
    speed: float,
) -> EarlyExits:
    """Classify a batch that shrinks as its inputs leave.

    After each layer the host learns how many inputs stay and how long the longest is, in one transfer; there
    is no other synchronisation. Padding that only inputs which left had needed is dropped.

    Args:
        model: switched to evaluation mode if it is not in it.
        input_ids: ``(B, S)``, B at least 1.
        attention_mask: ``(B, S)``, 0 on padding, which stands on the right.
        token_type_ids: ``(B, S)``.
        speed: threshold in [0, 1].

    Raises:
        UserError: see :func:`check_speed`.
    """
    check_speed(model, speed)
    if model.training:
        model.eval()
    if speed == 0.0:
        logits = model(input_ids, attention_mask, token_type_ids).sentence_logits()  # (B, C)
        depth = torch.full((len(logits),), len(model.layers), device=logits.device)  # (B,)
        return EarlyExits(logits.softmax(-1), depth, uncertainty(logits))
    return _shrinking_batch(model, input_ids, attention_mask, token_type_ids, speed)


def _shrinking_batch(
    model: FastBERTClassifier,
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor,
    speed: float,
) -> EarlyExits:
    lengths = attention_mask.sum(1)  # (B,)
    # One transfer to the host; of a single input a shorter way.
    shortest, width = 2 * [int(lengths)] if len(lengths) == 1 else torch.stack(lengths.aminmax()).tolist()
    if width < input_ids.size(1):
        input_ids, attention_mask, token_type_ids = (
            part[:, :width] for part in (input_ids, attention_mask, token_type_ids)
        )
    states, padding = model.embed(input_ids, attention_mask, token_type_ids, padded=shortest < width)
    layers, classifiers = model.layers, model.exits
    rows = torch.arange(len(states), device=states.device)  # (B,)
    found: _Found | None = None  # nobody has left
    for number, (layer, classifier) in enumerate(zip(layers, classifiers, strict=True), start=1):
        states = run_layer(layer, states, padding)
        answer = widen(classifier(states, padding))  # (b, C)
        doubt = uncertainty(answer)  # (b,)
        staying = doubt > speed  # (b,)
        count, width = _counted(staying, lengths) if number < len(layers) else (0, 0)
        if count == len(rows):
            continue
        if not count and found is None:  # all of the batch leaves together
            depth = torch.full_like(rows, number)  # (B,)
            return EarlyExits(answer.softmax(-1), depth, doubt)
        found = found or _Found.empty(answer, doubt, rows)
        # What stays is written too, and overwritten later: cheaper than asking who leaves.
        found.write(rows, answer, doubt, number)
        if not count:
            return EarlyExits(found.logits.softmax(-1), found.exit_layer, found.uncertainty)
        kept = staying.to(torch.uint8).argsort(descending=True, stable=True)[:count]  # (b',)
        rows, lengths = rows[kept], lengths[kept]  # (b',)
        states = states[kept, :width]  # (b', s', d)
        padding = None if padding is None else padding[kept, ..., :width]  # (b', 1, 1, s')
    raise RuntimeError("all inputs leave after the last layer")


def _counted(staying: Tensor, lengths: Tensor) -> tuple[int, int]:
    """Return how many inputs stay and how long the longest of them is, in one transfer to the host.

    Args:
        staying: ``(b,)`` bool.
        lengths: ``(b,)``.
    """
    if len(staying) == 1:  # its length is asked for by nobody: it stays alone, or leaves
        return int(staying), 0
    count, width = torch.stack((staying.sum(), (lengths * staying).amax())).tolist()
    return count, width


@dataclass(frozen=True)
class _Found:
    """What is known of a batch that shrinks; of inputs that stay, something that will be overwritten."""

    logits: Tensor
    uncertainty: Tensor
    exit_layer: Tensor

    @classmethod
    def empty(cls, answer: Tensor, doubt: Tensor, rows: Tensor) -> _Found:
        """Make room for as many inputs as there are: nobody has left yet."""
        return cls(torch.empty_like(answer), torch.empty_like(doubt), torch.empty_like(rows))

    def write(self, rows: Tensor, answer: Tensor, doubt: Tensor, number: int) -> None:
        """Note what a layer's classifier says of some inputs: ``(b,)``, ``(b, C)``, ``(b,)``."""
        self.logits.index_copy_(0, rows, answer)
        self.uncertainty.index_copy_(0, rows, doubt)
        self.exit_layer.index_fill_(0, rows, number)


def classify(
    model: FastBERTClassifier,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    *,
    speed: float | None = None,
    batch_size: int = 32,
    truncate: bool = False,
    device: str = "cpu",
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

    Raises:
        UserError: for a threshold outside [0, 1], a model that was not self-distilled, or a text that is
            empty or too long.
    """
    if speed is None:
        speed = DEFAULT_SPEED if model.speed is None else model.speed
    check_speed(model, speed)
    examples = _as_examples(first, second)
    if not examples.first:
        nothing = np.empty(0, np.float32)  # (0,)
        classes = len(model.labels)
        return Classified([], np.empty((0, classes), np.float32), np.empty(0, np.int64), nothing)
    if not truncate:
        _check_lengths(model.inputs, examples)
    encoded = EncodedExamples(examples, model.inputs)
    parts = [exit_early(model, **batch, speed=speed) for batch in encoded.batches(batch_size, device)]
    back = encoded.by_length().argsort()  # (N,)
    probabilities = torch.cat([part.probabilities for part in parts]).float().cpu().numpy()[back]  # (N, C)
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
    """Return what every layer's classifier says of every example; see :mod:`cmlm_kd.exit_calibration`.

    Raises:
        UserError: if the model was not self-distilled.
    """
    check_speed(model, DEFAULT_SPEED)
    model.eval()
    encoded = EncodedExamples(examples, model.inputs)
    logits = [widen(model.all_logits(**batch)).cpu() for batch in encoded.batches(batch_size, device)]
    back = encoded.by_length().argsort()  # (N,)
    together = torch.cat(logits, 1).transpose(0, 1)  # (N, L, C)
    return EveryLayer(
        together.argmax(-1).numpy()[back], uncertainty(together).to(torch.float32).numpy()[back]
    )


def _as_examples(first: Sequence[str], second: Sequence[str] | None) -> Examples:
    sides = [("first", first)] + ([] if second is None else [("second", second)])
    for name, texts in sides:
        if isinstance(texts, str):
            raise UserError(f"classify: the {name} texts are one string; give a list of strings")
        if len(texts) != len(first):
            raise UserError(f"classify: {len(first)} first texts, but {len(texts)} second ones; give pairs")
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                side = "" if second is None else f" ({name} of the pair)"
                raise UserError(f"text {number}{side} is empty; there is nothing to classify: leave it out")
    return Examples(list(first), None if second is None else list(second), None, (), "texts")


def _check_lengths(inputs: SentenceInputs, examples: Examples) -> None:
    if not isinstance(inputs, HuggingFaceInputs):
        return
    # One piece more than fits is enough to tell what is too long.
    sizes = EncodedExamples(examples, HuggingFaceInputs(inputs.tokenizer, inputs.max_length + 1)).sizes
    too_long = np.flatnonzero(sizes > inputs.max_length)  # (n,)
    if len(too_long):
        raise UserError(
            f"text {too_long[0] + 1} is longer than the {inputs.max_length} pieces that the model takes (so "
            f"are {len(too_long) - 1} others); shorten it, or pass --truncate to cut it"
        )
