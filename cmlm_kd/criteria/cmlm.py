"""The loss of a conditional masked language model: cross entropy at the masked positions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross entropy and how many positions are right (Chen et al., 2020, eq. 3).

    Args:
        logits: ``(M, V)`` at the masked positions, any float type; the loss is computed in float32 at least.
        labels: ``(M,)`` entries of the target vocabulary.

    Returns:
        loss in nats, summed over the ``M`` positions, and how many positions have the label as best entry.
    """
    wide = logits.float() if logits.dtype.itemsize < 4 else logits  # (M, V)
    loss = F.cross_entropy(wide, labels, reduction="sum")
    correct = (wide.detach().argmax(dim=-1) == labels).sum()
    return loss, correct
