"""Learning rates that differ between groups of parameters, and change while training.

A parameter belongs to the group that ``parameter.param_group`` names (see
:func:`cmlm_kd.students.bottleneck_bert.name_parameter_groups`); one without a name belongs to
:data:`DEFAULT`. The rate of a group is the common learning rate times the group's factor. A group
whose factor is 0 rests: it keeps its weights, and its optimiser forgets what it knew of it, as in
MobileBERT's released ``lamb_optimizer.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

DEFAULT = "default"


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
            for parameter in group["params"]:
                parameter.grad = None
                optimizer.state.pop(parameter, None)
