"""From the width of a student's hidden states to the width of its teacher's, learned beside the student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

ProjectionKind = Literal["shared", "separate", "layerwise"]

INITIAL_DEVIATION = 0.02
"""Of the weights: BERT's own, with which the released TinyBERT starts its projection."""


class StateProjection(nn.Module):
    """Projects hidden states ``(B, L, d')`` to ``(B, L, d)``.

    Args:
        kind: ``shared``: one matrix with bias for embeddings and all layers (TinyBERT's released code and
            first models). ``separate``: one for the embeddings and one for all layers, without bias (its
            paper). ``layerwise``: one with bias for the embeddings and each layer (its second models).
        layers: student layers whose states will be projected; 0 is the embeddings.
        student_width: d'.
        teacher_width: d.
    """

    def __init__(
        self, kind: ProjectionKind, layers: Sequence[int], student_width: int, teacher_width: int
    ) -> None:
        super().__init__()
        self._key_of = {layer: _key(kind, layer) for layer in layers}
        self.maps = nn.ModuleDict(
            {
                key: nn.Linear(student_width, teacher_width, bias=kind != "separate")
                for key in sorted(set(self._key_of.values()))
            }
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=INITIAL_DEVIATION)

    def forward(self, states: Tensor, layer: int) -> Tensor:
        """Return the states of one layer, projected."""
        projected: Tensor = self.maps[self._key_of[layer]](states)  # (B, L, d)
        return projected


def _key(kind: ProjectionKind, layer: int) -> str:
    if kind == "shared":
        return "shared"
    if layer == 0:
        return "embeddings"
    return "layers" if kind == "separate" else f"layer{layer}"
