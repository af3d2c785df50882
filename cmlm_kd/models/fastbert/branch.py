"""The classifier that a FastBERT has on each of its layers (Liu et al., 2020; ``run_fastbert.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.losses.divergences import entropy, widen
from cmlm_kd.models.encoders.packed_linear import PackedLinear
from cmlm_kd.system.ranges import SHARE_BELOW_ONE, check_range

TYPICAL_ROWS = 40
"""Positions of a short text: where it is alone, packing saves most."""


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
        check_range("the branches' dropout", self.dropout, SHARE_BELOW_ONE, owner="fastbert")


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

    def forward(self, states: Tensor, padding: Tensor | None) -> Tensor:
        """Return logits, ``(B, C)``.

        Args:
            states: ``(B, S, d)`` of the encoder's layer.
            padding: ``(B, 1, 1, S)`` added to the attention scores; None where there is no padding.
        """
        narrow = torch.tanh(self.narrow(states))  # (B, S, k)
        query = self._heads(self.query(narrow[:, :1]))  # (B, h, 1, k / h)
        key, value = self._heads(self.key(narrow)), self._heads(self.value(narrow))  # (B, h, S, k / h)
        scores = query @ key.transpose(2, 3) * query.size(-1) ** -0.5  # (B, h, 1, S)
        if padding is not None:
            scores = scores + padding  # (B, h, 1, S)
        first = self.dropout(scores.softmax(-1)) @ value  # (B, h, 1, k / h)
        pooled = self.attended(first.transpose(1, 2).flatten(1))  # (B, k)
        return self.output(torch.tanh(self.dense(pooled)))  # type: ignore[no-any-return]

    def _heads(self, projected: Tensor) -> Tensor:
        """Split ``(B, S, k)`` into heads, ``(B, h, S, k / h)``."""
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)


class FusedBranch(nn.Module):
    """A trained branch for inference: the same function with fewer products, up to rounding.

    For the narrow states n of a head's positions, its query W_q n_0 meets the keys W_k n as (W_k' W_q) n_0
    meets n, and the shares a of its positions give W_v sum(a n), on which two more matrices follow: what does
    not depend on a text is multiplied here once, and no key or value of a position is made.

    Args:
        branch: weights are copied; later changes of them are not seen.
        rows: positions at once for which the one product of all positions is packed; others work too.
    """

    probe_weight: Tensor
    probe_bias: Tensor
    mixed_weight: Tensor
    mixed_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor

    def __init__(self, branch: Branch, rows: int = TYPICAL_ROWS) -> None:
        super().__init__()
        heads, size = branch.heads, branch.query.out_features
        self.heads = heads
        with torch.no_grad():
            query, key, value = (
                layer.weight.view(heads, size // heads, size)  # (h, k / h, k)
                for layer in (branch.query, branch.key, branch.value)
            )
            scale = (size // heads) ** -0.5
            probe = scale * key.transpose(1, 2) @ query  # (h, k, k)
            probe_bias = scale * key.transpose(1, 2) @ branch.query.bias.view(heads, -1, 1)  # (h, k, 1)
            # The bias of the keys adds the same to all scores of a text, which the softmax does not see.
            after = branch.dense.weight @ branch.attended.weight  # (k, k)
            by_head = after.view(size, heads, -1).transpose(0, 1) @ value  # (h, k, k)
            mixed_bias = (
                after @ branch.value.bias + branch.dense.weight @ branch.attended.bias + branch.dense.bias
            )  # (k,)
        copies = {
            "probe_weight": probe.reshape(heads * size, size),
            "probe_bias": probe_bias.flatten(),
            "mixed_weight": by_head.transpose(0, 1).reshape(size, heads * size),
            "mixed_bias": mixed_bias,
            "output_weight": branch.output.weight,
            "output_bias": branch.output.bias,
        }
        for name, tensor in copies.items():  # no part of a checkpoint
            self.register_buffer(name, tensor.detach().clone(), persistent=False)
        self.narrow = PackedLinear(_without_parameters(branch.narrow), "tanh", rows)

    def forward(self, states: Tensor, padding: Tensor | None) -> Tensor:
        """Return logits, ``(B, C)``; see :meth:`Branch.forward`."""
        narrow = self.narrow(states)  # (B, S, k)
        probe = F.linear(narrow[:, 0], self.probe_weight, self.probe_bias)  # (B, h * k)
        scores = probe.view(len(probe), self.heads, -1) @ narrow.transpose(1, 2)  # (B, h, S)
        if padding is not None:
            scores = scores + padding[:, 0]  # (B, h, S)
        mixed = (scores.softmax(-1) @ narrow).flatten(1)  # (B, h * k)
        hidden = torch.tanh(F.linear(mixed, self.mixed_weight, self.mixed_bias))  # (B, k)
        return F.linear(hidden, self.output_weight, self.output_bias)


def _without_parameters(linear: nn.Linear) -> nn.Linear:
    """Return a copy that nothing trains, and no checkpoint holds."""
    copied = nn.Linear(linear.in_features, linear.out_features, device="meta").eval()
    for name, tensor in linear.named_parameters():
        delattr(copied, name)
        copied.register_buffer(name, tensor.detach().clone(), persistent=False)
    return copied


def uncertainty(logits: Tensor) -> Tensor:
    """Return the entropy over the largest there can be, in [0, 1]: ``(..., C)`` -> ``(...)``.

    Args:
        logits: of two classes or more.

    Raises:
        UserError: for a single class, of which nothing can be uncertain.
    """
    classes = logits.size(-1)
    check_number_of_classes(classes)
    # Rounding may put the entropy of equal probabilities above log C, and no threshold would let it go.
    return (entropy(widen(logits).softmax(-1)) / math.log(classes)).clamp(0.0, 1.0)


def check_number_of_classes(classes: int) -> None:
    """Refuse what no uncertainty is defined for.

    Raises:
        UserError: for fewer than two classes.
    """
    if classes < 2:
        raise UserError(
            f"fastbert: the uncertainty of a prediction needs two classes or more, there is {classes}; "
            "a score has no early exit: take bert_classifier"
        )
