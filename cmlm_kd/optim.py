"""LAMB, Adam in one kernel, and learning rates that differ between groups of parameters and while training.

LAMB is Adam whose step, tensor by tensor, is as long as the learning rate's share of the tensor itself (You
et al., 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", algorithm 2). For a
tensor x with gradient g::

    m = b1 m + (1 - b1) g            v = b2 v + (1 - b2) g^2
    r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    u = r + weight_decay x
    x = x - lr ||x|| / ||u|| u       (x - lr u where either norm is 0)

MobileBERT's released ``lamb_optimizer.py`` leaves out the divisions by 1 - b^t. There biases and
normalisations have neither weight decay nor the ratio of norms: a group with ``adapts`` False has no ratio.

Adam as fairseq's ``--optimizer adam`` has it (``fairseq/optim/adam.py``), with decoupled weight decay::

    x = x - lr weight_decay x - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

It goes over weights and moments about ten times a step, an operation at a time; torch's fused AdamW once,
but that adds eps to ``sqrt(v / (1 - b2^t))``. So torch gets ``eps / sqrt(1 - b2^t)``: the two are the same.

Rates: a parameter belongs to the group that ``parameter.param_group`` names (:func:`group_by_layer`); one
without a name belongs to :data:`DEFAULT`. The rate of a group is the common learning rate times the group's
factor. A group whose factor is 0 rests: it keeps its weights, and its optimiser forgets what it knew of it,
as in that file of MobileBERT's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

DEFAULT = "default"
"""Name of the group of parameters that belong to no other."""

EMBEDDINGS_AND_HEAD = "embeddings and head"
"""Name of the group of what is in no layer; layers are named ``layer 1``, ``layer 2``, ..."""

LAYER_PREFIX = ".encoder.layer."
"""What stands before a layer's number, from 0, in the names of a Hugging Face encoder's parameters."""


def _loss_of(closure: Callable[[], float] | None) -> float | None:
    """Return the loss that the caller's closure computes again, with its gradients; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class Lamb(Optimizer):
    """LAMB; equations in the module docstring. A class of its own because torch has none.

    Args:
        params: tensors, or groups of them as for every torch optimiser.
        lr: learning rate, 0 or more.
        betas: decay rates of the two moments, each in [0, 1).
        eps: added to the root of the second moment, above 0.
        weight_decay: 0 or more.
        bias_correction: divide the moments by 1 - b^t.
        adapts: take steps of the ratio of norms.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        bias_correction: bool = True,
        adapts: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "bias_correction": bias_correction, "adapts": adapts})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every tensor that has a gradient.

        Args:
            closure: computes the loss again, where the caller wants it.
        """
        loss = _loss_of(closure)
        for group in self.param_groups:
            tensors = [tensor for tensor in group["params"] if tensor.grad is not None]
            if tensors:
                self._change(group, tensors)
        return loss

    def _change(self, group: dict[str, Any], tensors: list[Tensor]) -> None:
        # One call for all tensors of a group: a GPU would wait for the launches of one call per tensor.
        updates = self._adam(group, tensors)  # r
        if group["weight_decay"]:
            torch._foreach_add_(updates, tensors, alpha=group["weight_decay"])  # u
        if group["adapts"]:
            torch._foreach_mul_(updates, _ratios(tensors, updates))
        torch._foreach_add_(tensors, updates, alpha=-group["lr"])

    def _adam(self, group: dict[str, Any], tensors: list[Tensor]) -> list[Tensor]:
        """Bring the moments up to date and return Adam's direction, r."""
        beta1, beta2 = group["betas"]
        states = [self._state(tensor) for tensor in tensors]
        first, second = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]  # of all, see step
        torch._foreach_lerp_(first, gradients, 1.0 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1.0 - beta2)
        below = torch._foreach_sqrt(second)
        # eps is added after the correction, as in the algorithm: before, it would shrink with t.
        if group["bias_correction"]:
            torch._foreach_div_(below, [(1.0 - beta2 ** state["step"]) ** 0.5 for state in states])
        torch._foreach_add_(below, group["eps"])
        updates = torch._foreach_div(first, below)
        if group["bias_correction"]:
            torch._foreach_div_(updates, [1.0 - beta1 ** state["step"] for state in states])
        return list(updates)

    def _state(self, tensor: Tensor) -> dict[str, Any]:
        """Return a tensor's state, its update counted."""
        state: dict[str, Any] = self.state[tensor]
        if not state:
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
        state["step"] += 1
        return state


def _ratios(tensors: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
    """Return ``||x|| / ||u||`` of each pair, ``()`` each; 1 where either norm is 0."""
    norms = zip(torch._foreach_norm(tensors), torch._foreach_norm(updates), strict=True)
    return [torch.where((x > 0) & (u > 0), x / u, 1.0) for x, u in norms]


class FusedAdam(torch.optim.AdamW):
    """fairseq's Adam in one kernel a step; equation in the module docstring.

    Its state is that of fairseq's, so that either goes on with what the other has saved.

    Args:
        params: tensors, or groups of them as for every torch optimiser.
        lr: learning rate, 0 or more.
        betas: decay rates of the two moments, each in [0, 1).
        eps: added to the root of the second moment, 0 or more.
        weight_decay: decoupled, 0 or more.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._steps: dict[Tensor, int] = {}  # beside torch's own, which a GPU would have to be asked for
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every tensor that has a gradient.

        Args:
            closure: computes the loss again, where the caller wants it.
        """
        loss = _loss_of(closure)
        groups = self.param_groups
        self.param_groups = [part for group in groups for part in self._parts(group)]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _parts(self, group: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the tensors of a group that are to change, those of as many updates together."""
        parts: dict[int, list[Tensor]] = {}
        for tensor in group["params"]:
            if tensor.grad is not None:
                self._steps[tensor] = self._steps.get(tensor, 0) + 1
                parts.setdefault(self._steps[tensor], []).append(tensor)
        beta2 = group["betas"][1]
        return [
            {**group, "params": members, "eps": group["eps"] / math.sqrt(1.0 - beta2**t)}
            for t, members in parts.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as fairseq's Adam has it: settings of its own, and numbers of updates as such."""
        found = super().state_dict()
        kept = ("lr", "betas", "eps", "weight_decay", "amsgrad", "params")
        groups = [{name: group[name] for name in kept} for group in found["param_groups"]]
        state = {place: {**each, "step": int(each["step"])} for place, each in found["state"].items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what this, or fairseq's Adam, has saved."""
        groups = [{**group, "fused": True} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})
        self._steps = {tensor: int(state["step"]) for tensor, state in self.state.items()}


def parameter_groups(parameters: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Sort parameters into groups for an optimiser, matrices before vectors within a name.

    Biases and normalisations, which are vectors, get neither weight decay nor LAMB's ratio of norms.

    Args:
        parameters: in the model's order.
        weight_decay: of matrices, 0 or more.
    """
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for parameter in parameters:
        name, matrix = getattr(parameter, "param_group", DEFAULT), parameter.dim() > 1
        groups.setdefault((name, True), [])
        groups.setdefault((name, False), [])
        groups[name, matrix].append(parameter)
    return [
        {
            "params": members,
            "weight_decay": weight_decay if matrix else 0.0,
            "adapts": matrix,
            "name": name,
            "factor": 1.0,
        }
        for (name, matrix), members in groups.items()
        if members
    ]


def set_factors(optimizer: Optimizer, factors: Mapping[str, float]) -> None:
    """Note the factor of every group that is named; the others keep theirs.

    Raises:
        KeyError: for a name that no group has.
    """
    known = {group.get("name", DEFAULT) for group in optimizer.param_groups}
    unknown = [name for name in factors if name not in known]
    if unknown:
        raise KeyError(unknown[0])
    for group in optimizer.param_groups:
        group["factor"] = factors.get(group.get("name", DEFAULT), group.get("factor", 1.0))


def apply_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the common rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def let_rest(optimizer: Optimizer) -> None:
    """Drop gradients and state of the groups whose factor is 0, so that the next step passes them by."""
    for group in optimizer.param_groups:
        if group.get("factor", 1.0) == 0:
            # No gradient, no step: else Adam's moments would go on moving the weights.
            for parameter in group["params"]:
                parameter.grad = None
                optimizer.state.pop(parameter, None)


def group_by_layer(model: nn.Module) -> tuple[str, ...]:
    """Note at each parameter which layer it belongs to, for optimisers whose rates differ by layer.

    The note, ``parameter.param_group``, is ``layer 1``, ``layer 2``, ... or :data:`EMBEDDINGS_AND_HEAD`;
    fairseq's wrappers for half precision pass it on.

    Args:
        model: a Hugging Face model that keeps its layers in ``encoder.layer``.

    Returns:
        the groups' names.
    """
    names: dict[str, None] = {}
    for name, parameter in model.named_parameters():
        _, found, rest = name.partition(LAYER_PREFIX)
        group = f"layer {int(rest.split('.', 1)[0]) + 1}" if found else EMBEDDINGS_AND_HEAD
        parameter.param_group = group  # type: ignore[attr-defined]
        names[group] = None
    return tuple(names)
