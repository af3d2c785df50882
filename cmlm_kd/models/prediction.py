"""A classifier's logits for many examples."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples, SentenceInputs


class Classifier(Protocol):
    """What every student and teacher over sentences is: a module with its inputs and classes."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes in the order of its logits; empty for a score."""

    @property
    def inputs(self) -> SentenceInputs:
        """What turns sentences into its ids."""

    @property
    def description(self) -> ModelDescription:
        """What it can give."""

    @property
    def reads_pairs(self) -> bool | None:
        """Whether it was trained on pairs of sentences; None where nothing says so."""

    def __call__(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> ModelOutput:
        """Return logits ``(B, C)`` of a right-padded batch."""

    def train(self, mode: bool = True) -> object:
        """Switch dropout on or off."""


@torch.inference_mode()
def predict_logits(
    classifier: Classifier, examples: Examples, batch_size: int = 32, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return the logits of all examples in their order, ``(N, C)``, without dropout.

    Batches hold examples of equal length, as far as there are any, so that little is computed on padding.

    Args:
        classifier: moved to the device already.
        examples: sentences or pairs.
        batch_size: examples at once.
        device: where to compute.
    """
    classifier.train(False)
    encoded = EncodedExamples(examples, classifier.inputs)
    parts = [
        classifier(**batch).sentence_logits().float().cpu() for batch in encoded.batches(batch_size, device)
    ]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()  # (N, C), by length
    return logits[encoded.by_length().argsort()]
