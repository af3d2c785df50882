"""BERT's layers over the real positions of a batch alone, for encoders that only predict on a CPU.

Linear layers, normalisation and sums run on one matrix ``(N, d)`` of all real positions, queries, keys and
values as one product. Attention runs over groups of neighbouring rows of one length, which need no mask. What
comes out is what the plain layers say at those positions: batches sorted by length make few, large groups,
and others are right as well.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmlm_kd.models.encoders.packed_linear import can_pack

_LONGEST_BY_PRODUCTS = 128
"""Rows up to here are attended to by two products of all heads at once. PyTorch's fused kernel goes over them
head by head, in blocks of 32 queries; it takes twice as long at 38 positions, 1.2 times as long at 96. Longer
rows would need more memory for their scores and gain nothing."""


class Group(NamedTuple):
    """Neighbouring rows of one length.

    Attributes:
        start: its first position among the real ones.
        rows: how many.
        length: of each.
        asked: how many masked positions each row has, ``(rows,)``.
    """

    start: int
    rows: int
    length: int
    asked: Tensor

    @property
    def real(self) -> slice:
        """Where its positions are among the real ones."""
        return slice(self.start, self.start + self.rows * self.length)


@dataclass(frozen=True)
class RealPositions:
    """Where the real positions of a batch are.

    Attributes:
        index: ``(N,)`` in the flattened batch, row by row.
        masked: ``(M,)`` those whose states are asked for, among the N.
        groups: together all rows, in order.
    """

    index: Tensor
    masked: Tensor
    groups: list[Group]

    @classmethod
    def of(cls, attention_mask: Tensor, masked_index: Tensor) -> RealPositions:
        """Find them.

        Args:
            attention_mask: 1 on real positions, ``(B, S)``; each row is filled from the left.
            masked_index: ``(M,)`` positions in the flattened batch, row by row.
        """
        real = attention_mask.bool()  # (B, S)
        place = real.flatten().cumsum(0) - 1  # (B * S,)
        lengths = real.sum(1)  # (B,)
        asked = torch.bincount(masked_index // real.shape[1], minlength=len(real))  # (B,)
        groups, row, start = [], 0, 0
        for length, same in itertools.groupby(lengths.tolist()):
            rows = len(list(same))
            groups.append(Group(start, rows, length, asked[row : row + rows]))
            row, start = row + rows, start + rows * length
        return cls(real.flatten().nonzero().squeeze(1), place[masked_index], groups)


class UnpaddedLayers:
    """The layers of an encoder, brought to where :class:`RealPositions` are all that they see.

    The first takes ``(B, S, d)``, the last returns the masked positions' states, ``(1, M, d)``.

    Args:
        layers: the encoder's own, BERT's modules each; they are replaced.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        self.layers = [
            _UnpaddedLayer(layer, first=place == 0, last=place == len(layers) - 1)
            for place, layer in enumerate(layers)
        ]
        for place, layer in enumerate(self.layers):
            layers[place] = layer

    def look_at(self, positions: RealPositions) -> None:
        """Say what the next batch is."""
        for layer in self.layers:
            layer.positions = positions


class _UnpaddedLayer(nn.Module):
    """One layer; it has the signature of the one that it takes the place of, whose other modules it keeps."""

    positions: RealPositions

    def __init__(self, layer: Any, *, first: bool, last: bool) -> None:
        super().__init__()
        own = layer.attention.self
        self.first, self.last, self.head_size = first, last, own.attention_head_size
        parts = [own.key, own.value] if last else [own.query, own.key, own.value]
        self.projections = _side_by_side(parts)
        self.query = own.query if last else None
        self.attention_output = layer.attention.output
        self.intermediate = layer.intermediate
        self.output = layer.output

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        states = hidden_states.flatten(0, 1)  # (N, d), padding among them before the first layer
        if self.first:
            states = states.index_select(0, self.positions.index)  # (N, d)
        projected = self.projections(states)  # (N, 3 d), or (N, 2 d)
        if self.query is None:
            context = self._of_all(projected)  # (N, d)
        else:
            states = states.index_select(0, self.positions.masked)  # (M, d)
            context = self._of_masked(self.query(states), projected)  # (M, d)
        states = self.attention_output(context, states)
        return cast(Tensor, self.output(self.intermediate(states), states)).unsqueeze(0)

    def _of_all(self, projected: Tensor) -> Tensor:
        """Return what each position attends to, ``(N, d)``."""
        context = projected.new_empty(len(projected), projected.shape[1] // 3)  # (N, d)
        for group in self.positions.groups:
            shape = (group.rows, group.length, 3, -1, self.head_size)
            queries, keys, values = (
                projected[group.real].view(shape).permute(2, 0, 3, 1, 4)
            )  # (B, H, T, d / H)
            found = _attend(queries, keys, values)  # (B, H, T, d / H)
            place = context[group.real].view(group.rows, group.length, -1, self.head_size)
            place.copy_(found.transpose(1, 2))
        return context

    def _of_masked(self, queries: Tensor, projected: Tensor) -> Tensor:
        """Return what each masked position attends to, ``(M, d)``, for ``(M, d)`` and ``(N, 2 d)``."""
        found, start = [], 0
        for group in self.positions.groups:
            shape = (group.rows, group.length, 2, -1, self.head_size)
            keys, values = projected[group.real].view(shape).permute(2, 0, 3, 1, 4)  # (B, H, T, d / H)
            most, total = int(group.asked.max()), int(group.asked.sum())
            there = torch.arange(most) < group.asked[:, None]  # (B, m), rows are filled from the left
            asked = queries.new_zeros(group.rows, most, queries.shape[1])  # (B, m, d)
            asked[there] = queries[start : start + total]
            asked = asked.view(group.rows, most, -1, self.head_size).transpose(1, 2)  # (B, H, m, d / H)
            found.append(_attend(asked, keys, values).transpose(1, 2).flatten(2)[there])  # (asked, d)
            start += total
        return torch.cat(found)


def _side_by_side(layers: list[nn.Linear]) -> nn.Linear:
    """Return one linear layer that says what these say, one after the other."""
    weight = torch.cat([layer.weight for layer in layers])  # (out, in)
    joined = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    joined.weight = nn.Parameter(weight.detach())
    joined.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]).detach())
    return joined.train(layers[0].training)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what queries ``(B, H, m, c)`` attend to over keys and values ``(B, H, T, c)``, as the former."""
    rows, heads, length, size = keys.shape
    shape = queries.shape
    by_products = queries.dtype == torch.bfloat16 and can_pack(torch.bfloat16)
    if not by_products or length > _LONGEST_BY_PRODUCTS:
        return F.scaled_dot_product_attention(queries, keys, values)
    queries, keys, values = (
        states.reshape(rows * heads, states.shape[2], size) for states in (queries, keys, values)
    )  # (B H, m or T, c)
    scores = torch.bmm(queries, keys.transpose(1, 2)).float()  # (B H, m, T)
    shares = scores.mul_(size**-0.5).softmax(-1).to(values.dtype)  # (B H, m, T)
    return torch.bmm(shares, values).view(shape)
