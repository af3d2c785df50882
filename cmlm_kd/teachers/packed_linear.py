"""Linear layers with weights packed once for oneDNN, for teachers that only predict.

PyTorch's own linear layer lets oneDNN bring a bfloat16 weight into its blocked form in every call, and writes
what goes into a GELU to memory before it is read again. PyTorch's compiler packs the weights and fuses the
activation with the same two operators; here they are called without the minutes that compiling takes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

TYPICAL_ROWS = 4096
"""Rows for which the blocked form is chosen; other numbers of rows work too."""


class PackedLinear(nn.Module):
    """``activation(x W^T + b)`` in bfloat16, without gradients, on a CPU.

    Args:
        linear: a layer with bfloat16 weights; stays as it is.
        activation: ``"none"`` or ``"gelu"`` (the exact one), computed before the result is rounded.
    """

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.bias = linear.bias
        self.activation = activation
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), TYPICAL_ROWS)

    def forward(self, states: Tensor) -> Tensor:
        """Return ``(..., out)`` bfloat16 for states ``(..., in)`` of any floating type."""
        return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
            states.to(torch.bfloat16), self.packed, self.bias, self.activation, [], "none"
        )


def can_pack() -> bool:
    """Return whether this PyTorch and this CPU have what :class:`PackedLinear` needs."""
    operators = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(operators, "_reorder_linear_weight")
        and hasattr(operators, "_linear_pointwise")
        and bool(operators._is_mkldnn_bf16_supported())
    )


def pack_linear_layers(module: nn.Module) -> None:
    """Replace every bfloat16 linear layer below ``module``, in BERT's layers with the GELU that follows."""
    for parent in list(module.modules()):
        if _is_exact_gelu(getattr(parent, "intermediate_act_fn", None)) and _is_packable(parent.dense):
            parent.dense = PackedLinear(parent.dense, "gelu")  # type: ignore[arg-type]
            parent.intermediate_act_fn = nn.Identity()
        for name, child in list(parent.named_children()):
            if _is_packable(child):
                setattr(parent, name, PackedLinear(child))  # type: ignore[arg-type]


def _is_packable(module: object) -> bool:
    return isinstance(module, nn.Linear) and module.weight.dtype == torch.bfloat16


def _is_exact_gelu(activation: object) -> bool:
    """GELU of the error function, not its approximation by tanh."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return isinstance(activation, GELUActivation) and activation.act is nn.functional.gelu
