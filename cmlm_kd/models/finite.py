"""Weights that are numbers: a model whose training has diverged is refused when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cmlm_kd.errors import UserError


def check_finite_weights(subject: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights with a number that is not finite.

    Args:
        subject: what has them, for the message.
        weights: name -> tensor; integers are always finite.

    Raises:
        UserError: naming the first such weight, and the number.
    """
    for name, tensor in weights.items():
        # A sum is finite wherever all numbers are, but for overflows, and is the quickest look.
        if not tensor.is_floating_point() or torch.isfinite(tensor.sum()):
            continue
        wrong = tensor[~torch.isfinite(tensor)]  # (n,)
        if len(wrong):
            raise UserError(
                f"{subject}: weight {name} has {len(wrong)} numbers that are not finite, such as "
                f"{wrong[0].item()}: its training has diverged; take an earlier checkpoint, or train again "
                "with a lower --lr"
            )
