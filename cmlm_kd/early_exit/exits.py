"""A FastBERT that runs until its inputs are certain enough: a batch that shrinks layer by layer.

After layer i its classifier, a branch or on the last layer the teacher classifier, gives p_i over C classes
(Liu et al., 2020, section 3.3)::

    uncertainty = - sum_c p_i[c] log p_i[c] / log C        (eq. 6)

An input leaves after the earliest layer at which the uncertainty is at most the threshold ``speed``, and
after the last one whatever it is. Here both sides are multiplied by log C: entropy in nats against ``speed
log C``. A threshold of 0 is special: no branch runs at all, and every input goes through all layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import entropy, widen
from cmlm_kd.models.encoders.layers import run_layer
from cmlm_kd.models.fastbert.branch import uncertainty
from cmlm_kd.models.fastbert.model import FastBERTClassifier
from cmlm_kd.system.ranges import SHARE


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


def check_distilled(model: FastBERTClassifier) -> None:
    """Refuse a model whose branches were not trained.

    Raises:
        UserError: saying what trains them.
    """
    if model.stage != "branches":
        raise UserError(
            "the model was not self-distilled: its branches are random, and leaving early means nothing; "
            "train them with --criterion fastbert_kd"
        )


def check_speed(model: FastBERTClassifier, speed: float) -> None:
    """Refuse a threshold that means nothing, or that needs branches which were not trained.

    Raises:
        UserError: naming the threshold or the model.
    """
    if not SHARE.contains(speed):
        raise UserError(
            f"--speed is {speed}; it is an uncertainty and must be {SHARE.allowed}: 0 runs all layers, 1 the "
            "first one alone"
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
        attention_mask: ``(B, S)``, 1 on tokens, 0 on padding, which stands on the right.
        token_type_ids: ``(B, S)``.
        speed: threshold in [0, 1].

    Raises:
        UserError: see :func:`check_speed`; and for padding elsewhere than on the right, or an input without
            tokens.
    """
    check_speed(model, speed)
    if model.training:
        model.eval()
    lengths, shortest, width = _lengths(attention_mask)
    if speed == 0.0:  # nothing is certain enough for a branch: the plain encoder, no branch at all
        padded = shortest < attention_mask.size(1)
        logits = model.last_logits(*model.embed(input_ids, attention_mask, token_type_ids, padded))  # (B, C)
        depth = torch.full((len(logits),), len(model.layers), device=logits.device)  # (B,)
        return EarlyExits(logits.softmax(-1), depth, uncertainty(logits))
    if width < input_ids.size(1):
        input_ids, attention_mask, token_type_ids = (
            part[:, :width] for part in (input_ids, attention_mask, token_type_ids)
        )
    states, padding = model.embed(input_ids, attention_mask, token_type_ids, padded=shortest < width)
    # Eq. 6 times log C. At 1 all leave at once: rounding may put the entropy of equal probabilities above it.
    limit = math.inf if speed == 1.0 else speed * math.log(len(model.labels))
    if len(states) == 1:
        logits, number = _one_input(model, states, limit)
        return EarlyExits(
            logits.softmax(-1), torch.full((1,), number, device=logits.device), uncertainty(logits)
        )
    return _shrinking_batch(model, states, padding, lengths, limit)


def _lengths(attention_mask: Tensor) -> tuple[Tensor, int, int]:
    """Return the inputs' lengths, ``(B,)``, the least and the greatest, by one transfer to the host."""
    lengths = attention_mask.sum(1)  # (B,)
    rising = (attention_mask[:, 1:] > attention_mask[:, :-1]).any()  # ()
    shortest, width, misplaced = torch.stack((*lengths.aminmax(), rising)).tolist()
    if misplaced or not shortest:
        problem = "an input has padding before a token" if misplaced else "an input is nothing but padding"
        raise UserError(
            f"attention_mask: {problem}; inputs are 1 on their tokens, then 0 on padding: set the "
            "tokenizer's padding_side to 'right'"
        )
    return lengths, shortest, width


def _one_input(model: FastBERTClassifier, states: Tensor, limit: float, done: int = 0) -> tuple[Tensor, int]:
    """Run one input that has no padding until it leaves; return its logits, ``(1, C)``, and its last layer.

    Args:
        model: see :func:`exit_early`.
        states: ``(1, S, d)`` before the next layer.
        limit: largest entropy in nats of a prediction that is certain enough.
        done: layers it has been through.
    """
    parts = list(zip(model.layers, model.exits, strict=True))[done:]
    for number, (layer, classifier) in enumerate(parts, start=done + 1):
        states = run_layer(layer, states, None)
        logits = classifier(states, None)  # (1, C)
        if number == len(model.layers) or _entropy_of_one(logits) <= limit:  # certain enough: it leaves
            return widen(logits), number
    raise RuntimeError("all inputs leave after the last layer")


def _entropy_of_one(logits: Tensor) -> float:
    """Return the entropy of a prediction, ``(1, C)``, in nats: one transfer instead of four small
    operations."""
    # With p = exp(z) / Z: H = - sum p (z - log Z) = log Z - sum p z, here with z less the largest.
    values: list[float] = logits[0].tolist()
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    total = sum(weights)
    mean = sum(weight * (value - largest) for weight, value in zip(weights, values, strict=True)) / total
    return math.log(total) - mean


def _shrinking_batch(
    model: FastBERTClassifier, states: Tensor, padding: Tensor | None, lengths: Tensor, limit: float
) -> EarlyExits:
    """Run two inputs or more; see :func:`exit_early` and :func:`_one_input`.

    Args:
        model: see there.
        states: ``(B, S, d)``.
        padding: ``(B, 1, 1, S)`` or None.
        lengths: ``(B,)``.
        limit: in nats.
    """
    rows = torch.arange(len(states), device=states.device)  # (B,)
    exited: _ExitedInputs | None = None  # nobody has left
    for number, (layer, classifier) in enumerate(zip(model.layers, model.exits, strict=True), start=1):
        states = run_layer(layer, states, padding)
        answer = widen(classifier(states, padding))  # (b, C)
        staying = entropy(answer.softmax(-1)) > limit  # (b,), not certain enough
        count, width = _counted(staying, lengths) if number < len(model.layers) else (0, 0)
        if count == len(rows):
            continue
        exited = exited or _ExitedInputs.empty(answer, rows)
        # What stays is written too, and overwritten later: cheaper than asking who leaves.
        exited.write(rows, answer, number)
        if not count:
            break
        # As many as the host knows of, in their order: nonzero() would make it wait for the GPU once more.
        kept = staying.to(torch.uint8).argsort(descending=True, stable=True)[:count]  # (b',)
        rows, lengths = rows[kept], lengths[kept]  # (b',)
        states = states[kept, :width]  # (b', s', d)
        if count == 1:
            exited.write(rows, *_one_input(model, states, limit, number))
            break
        padding = None if padding is None else padding[kept, ..., :width]  # (b', 1, 1, s')
    if exited is None:
        raise RuntimeError("all inputs leave after the last layer")
    return EarlyExits(exited.logits.softmax(-1), exited.exit_layer, uncertainty(exited.logits))


def _counted(staying: Tensor, lengths: Tensor) -> tuple[int, int]:
    """Return how many inputs stay and how long the longest of them is, in one transfer to the host.

    Args:
        staying: ``(b,)`` bool.
        lengths: ``(b,)``.
    """
    count, width = torch.stack((staying.sum(), (lengths * staying).amax())).tolist()
    return count, width


@dataclass(frozen=True)
class _ExitedInputs:
    """What is known of a batch that shrinks; of inputs that stay, something that will be overwritten."""

    logits: Tensor
    exit_layer: Tensor

    @classmethod
    def empty(cls, answer: Tensor, rows: Tensor) -> _ExitedInputs:
        """Make room for as many inputs as there are: nobody has left yet."""
        return cls(torch.empty_like(answer), torch.empty_like(rows))

    def write(self, rows: Tensor, answer: Tensor, number: int) -> None:
        """Note what a layer's classifier says of some inputs: ``(b,)``, ``(b, C)``."""
        self.logits.index_copy_(0, rows, answer)
        self.exit_layer.index_fill_(0, rows, number)
