"""The classifier that a FastBERT has on each of its layers (Liu et al., 2020; ``run_fastbert.py``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmlm_kd.errors import UserError


@dataclass(frozen=True)
class BranchSettings:
    """The form of a classifier, the same on every layer; defaults are the paper's.

    Attributes:
        size: width of its self-attention, at least 1.
        heads: of its self-attention; a divisor of the width.
        dropout: of its attention weights, in [0, 1).

    Raises:
        UserError: for a value outside its range.
    """

    size: int = 128
    heads: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 1 or self.heads < 1 or self.size % self.heads:
            raise UserError(
                f"fastbert: branches of width {self.size} with {self.heads} attention heads; the width must "
                "be a multiple of the heads, both at least 1"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"fastbert: the branches' dropout is {self.dropout}, it must be in [0, 1)")


class Branch(nn.Module):
    """A classifier of one layer's hidden states.

    Only the first position is read in the end, so that only its query is made: the released code's other
    queries change nothing.

    Args:
        hidden_size: width of the encoder's states.
        classes: how many.
        settings: see there.
    """

    def __init__(self, hidden_size: int, classes: int, settings: BranchSettings) -> None:
        super().__init__()
        size = settings.size
        self.heads = settings.heads
        self.narrow = nn.Linear(hidden_size, size)
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.attended = nn.Linear(size, size)
        self.dropout = nn.Dropout(settings.dropout)
        self.dense = nn.Linear(size, size)
        self.output = nn.Linear(size, classes)

    def forward(self, states: Tensor, padding: Tensor) -> Tensor:
        """Return logits, ``(B, C)``.

        Args:
            states: ``(B, S, d)`` of the encoder's layer.
            padding: ``(B, 1, 1, S)`` added to the attention scores.
        """
        narrow = torch.tanh(self.narrow(states))  # (B, S, k)
        query = self._heads(self.query(narrow[:, :1]))  # (B, h, 1, k / h)
        key, value = self._heads(self.key(narrow)), self._heads(self.value(narrow))  # (B, h, S, k / h)
        scores = query @ key.transpose(2, 3) * query.size(-1) ** -0.5 + padding  # (B, h, 1, S)
        first = self.dropout(scores.softmax(-1)) @ value  # (B, h, 1, k / h)
        pooled = self.attended(first.transpose(1, 2).flatten(1))  # (B, k)
        return self.output(torch.tanh(self.dense(pooled)))  # type: ignore[no-any-return]

    def _heads(self, projected: Tensor) -> Tensor:
        """Split ``(B, S, k)`` into heads, ``(B, h, S, k / h)``."""
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)
