"""Floating-point operations of a FastBERT, counted as its paper counts them (Liu et al., 2020, Table 1).

Linear layers alone, two operations for a multiplication and an addition, every input at one length, 128 in
the paper. The products of queries, keys and values, embeddings, activations and the outputs' layer are not
counted. The README of the released code counts the classifier's last hidden layer at the one position where
it runs: 21,785,247,744 for BERT-base, the number used here; Table 1 counts it at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

PAPER_LENGTH = 128


def linear_flops(inputs: int, outputs: int, positions: int) -> int:
    """Return the operations of a linear layer at so many positions: ``2 * inputs * outputs * positions``."""
    return 2 * inputs * outputs * positions


@dataclass(frozen=True)
class FlopCount:
    """What the parts of a FastBERT cost for one input, in operations.

    Attributes:
        layers: of the encoder.
        hidden_size: width of its states.
        intermediate_size: width inside its feed-forward layers.
        branch_size: width of the classifiers.
        embedding_size: width of its embeddings, projected to the states' where it is another.
        length: tokens of an input.
    """

    layers: int = 12
    hidden_size: int = 768
    intermediate_size: int = 3072
    branch_size: int = 128
    embedding_size: int = 768
    length: int = PAPER_LENGTH

    @classmethod
    def of(cls, config: Any, branch_size: int = 128, length: int = PAPER_LENGTH) -> FlopCount:
        """Return the count of an encoder with this Hugging Face configuration."""
        inner = getattr(config, "intermediate_size", None) or config.hidden_dim  # DistilBERT's name for it
        width = config.hidden_size
        embeddings = getattr(config, "embedding_size", width)
        return cls(config.num_hidden_layers, width, inner, branch_size, embeddings, length)

    @property
    def attention(self) -> int:
        """Queries, keys, values and output of one layer's self-attention."""
        return 4 * linear_flops(self.hidden_size, self.hidden_size, self.length)

    @property
    def feed_forward(self) -> int:
        """Both feed-forward layers of one layer."""
        return 2 * linear_flops(self.hidden_size, self.intermediate_size, self.length)

    @property
    def layer(self) -> int:
        """One layer of the encoder."""
        return self.attention + self.feed_forward

    @property
    def embeddings(self) -> int:
        """Projection of narrow embeddings; 0 where they are as wide as the states."""
        if self.embedding_size == self.hidden_size:
            return 0
        return linear_flops(self.embedding_size, self.hidden_size, self.length)

    @property
    def classifier_narrow(self) -> int:
        """A classifier's first layer, at every position."""
        return linear_flops(self.hidden_size, self.branch_size, self.length)

    @property
    def classifier_attention(self) -> int:
        """A classifier's self-attention, at every position."""
        return 4 * linear_flops(self.branch_size, self.branch_size, self.length)

    @property
    def classifier_dense(self) -> int:
        """A classifier's last hidden layer, at one position."""
        return linear_flops(self.branch_size, self.branch_size, 1)

    @property
    def classifier(self) -> int:
        """One classifier."""
        return self.classifier_narrow + self.classifier_attention + self.classifier_dense

    @property
    def plain(self) -> int:
        """All layers and one classifier: the encoder without early exits, and FastBERT at speed 0."""
        return self.embeddings + self.layers * self.layer + self.classifier

    @property
    def exits(self) -> NDArray[np.int64]:
        """Leaving after each layer, ``(L,)``: a classifier has run on each layer until there."""
        depths = np.arange(1, self.layers + 1, dtype=np.int64)  # (L,)
        return self.embeddings + depths * (self.layer + self.classifier)

    def mean(self, histogram: Sequence[int] | NDArray[np.integer[Any]]) -> float:
        """Return the mean cost of an input.

        Args:
            histogram: ``(L,)``, how many inputs left after each layer, at a speed above 0.

        Raises:
            UserError: if it is empty, negative, or of another number of layers.
        """
        counts = np.asarray(histogram)  # (L,)
        if counts.shape != (self.layers,) or counts.min() < 0 or counts.sum() == 0:
            raise UserError(
                f"a histogram of exits must have {self.layers} counts of 0 or more, one a layer, and not be "
                f"empty; got {counts.tolist()}"
            )
        return float(counts @ self.exits) / float(counts.sum())

    def speedup(self, histogram: Sequence[int] | NDArray[np.integer[Any]]) -> float:
        """Return how many times cheaper than :attr:`plain` inputs are on average; see :meth:`mean`."""
        return self.plain / self.mean(histogram)
