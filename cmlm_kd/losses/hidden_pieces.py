"""The loss of hidden pieces on blocks of logits, for :func:`cmlm_kd.losses.projection.projected_loss`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cmlm_kd.losses.divergences import softmax_in_place


class HiddenPieceBlocks:
    """Cross entropy of hidden pieces as a :class:`cmlm_kd.losses.projection.BlockLoss`.

    Args:
        target: ``(M,)`` pieces that were hidden.
        features: any tensor of the student's precision and device.

    Attributes:
        nll: ``(M,)`` negative log-likelihoods in nats; filled in as the blocks pass, as is the other.
        best: ``(M,)`` the likeliest pieces.
    """

    def __init__(self, target: Tensor, features: Tensor) -> None:
        kind = torch.promote_types(features.dtype, torch.float32)
        self._target = target
        self.nll = features.new_zeros(len(target), dtype=kind)  # (M,)
        self.best = torch.zeros_like(target)  # (M,)

    def start(self, sums: Callable[[], Tensor]) -> Tensor | None:
        """Return None: no part of the gradient is the same for all entries."""
        return None

    def start_chunk(self, rows: slice) -> None:
        """Do nothing: there is no teacher to project."""
        return

    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Note what a block says of its pieces; turn its logits ``(n, V)`` into the gradient if wanted."""
        wanted = self._target[rows].unsqueeze(1)  # (n, 1)
        gold = logits.gather(1, wanted)  # (n, 1)
        torch.argmax(logits, 1, out=self.best[rows])
        normaliser = softmax_in_place(logits)  # (n, 1)
        self.nll[rows] = (normaliser - gold).squeeze(1)
        if gradient:
            logits.scatter_add_(1, wanted, torch.full_like(gold, -1.0))

    def total(self) -> Tensor:
        """Return the loss, summed over hidden pieces."""
        return self.nll.sum()
