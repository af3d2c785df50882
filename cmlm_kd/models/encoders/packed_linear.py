"""Linear layers with weights packed once for oneDNN, for models that only predict.

PyTorch's own linear layer lets oneDNN bring the weight into its blocked form in every call (bfloat16), or
multiplies without it (float32), and writes what goes into an activation to memory before it is read again.
PyTorch's compiler packs the weights and fuses the activation with the same two operators; here they are
called without the minutes that compiling takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

Activation = Literal["none", "gelu", "tanh"]

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "gelu": F.gelu, "tanh": torch.tanh}
_ALGORITHM = {"gelu": "none"}  # the exact one


class PackedLinear(nn.Linear):
    """``activation(x W^T + b)``; without gradients on a CPU, by a packed copy of the weight.

    Anywhere else, and from :meth:`train` on, it is the plain layer and its activation. What is packed follows
    a move to another device or type and ``load_state_dict``; other changes of the weight are not seen.

    Args:
        linear: its weight and bias become this layer's, under the same names.
        activation: what follows; ``"gelu"`` is the exact one.
        rows: how many the blocked form is chosen for; other numbers work too.
    """

    def __init__(self, linear: nn.Linear, activation: Activation = "none", rows: int = 4096) -> None:
        super(nn.Linear, self).__init__()  # no weights of its own
        self.in_features, self.out_features = linear.in_features, linear.out_features
        for name in ("weight", "bias"):
            tensor = getattr(linear, name)
            if tensor is None or isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor, persistent=False)
        self.activation: Activation = activation
        self.rows = rows
        self.training = linear.training
        self.pack()

    def pack(self) -> None:
        """Pack the weight as it is now, and again whenever it is moved or loaded, until :meth:`train`."""
        self.wanted = True
        self.packed: Tensor | None = None
        if self.weight.device.type == "cpu" and can_pack(self.weight.dtype):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), self.rows)

    def forward(self, states: Tensor) -> Tensor:
        """Return ``(..., out)`` for states ``(..., in)``; packed bfloat16 takes any floating type."""
        packed = self.packed
        if packed is None or torch.is_grad_enabled() or _autocast_wants_less(packed):
            return _PLAIN[self.activation](super().forward(states))
        algorithm = _ALGORITHM.get(self.activation, "")
        return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
            states.to(packed.dtype), packed, self.bias, self.activation, [], algorithm
        )

    def train(self, mode: bool = True) -> PackedLinear:
        """Switch to training, where nothing is packed, or out of it."""
        if mode:
            self.wanted, self.packed = False, None
        return super().train(mode)

    def _repack(self) -> None:
        if self.wanted:
            self.pack()

    def _apply(self, *arguments: Any, **named: Any) -> PackedLinear:
        super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]
        self._repack()
        return self

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._repack()

    def __getstate__(self) -> dict[str, Any]:
        # What is packed has no storage that could be copied or written.
        return {**self.__dict__, "packed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._repack()


def _autocast_wants_less(packed: Tensor) -> bool:
    """Whether autocast would multiply float32 in half precision, about which the operator knows nothing."""
    return packed.dtype == torch.float32 and torch.is_autocast_enabled("cpu")


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this PyTorch and this CPU can pack weights of a type: bfloat16 or float32."""
    operators = torch.ops.mkldnn
    if (
        dtype not in (torch.bfloat16, torch.float32)
        or not torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        or not hasattr(operators, "_reorder_linear_weight")
        or not hasattr(operators, "_linear_pointwise")
    ):
        return False
    return dtype == torch.float32 or bool(operators._is_mkldnn_bf16_supported())


def pack_linear_layers(module: nn.Module, rows: int = 4096) -> None:
    """Pack every linear layer below ``module`` that can be, in BERT's layers with the GELU that follows.

    Args:
        module: layers that were packed before are packed again.
        rows: see :class:`PackedLinear`.
    """
    for parent in list(module.modules()):
        if _is_exact_gelu(getattr(parent, "intermediate_act_fn", None)) and _is_packable(parent.dense):
            parent.dense = PackedLinear(cast(nn.Linear, parent.dense), "gelu", rows)
            parent.intermediate_act_fn = nn.Identity()
        for name, child in list(parent.named_children()):
            if isinstance(child, PackedLinear):
                child.pack()
            elif _is_packable(child):
                setattr(parent, name, PackedLinear(cast(nn.Linear, child), rows=rows))


def _is_packable(module: object) -> bool:
    return type(module) is nn.Linear and can_pack(module.weight.dtype)


def _is_exact_gelu(activation: object) -> bool:
    """GELU of the error function, not its approximation by tanh."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return isinstance(activation, GELUActivation) and activation.act is nn.functional.gelu
