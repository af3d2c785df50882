"""Cross entropy of masked tokens, at logits and on blocks of them.

For the logits z over the vocabulary at a position whose token y was masked (Devlin et al., 2019, section 3.1;
given another sentence besides, Chen et al., 2020, eq. 3)::

    loss     = - log softmax(z)[y] = log sum_v exp(z[v]) - z[y]        summed over masked tokens
    gradient = softmax(z) - onehot(y)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses.divergences import softmax_in_place, widen
from cmlm_kd.losses.projection import BlockLoss


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross entropy and how many positions are right: the loss of a C-MLM teacher.

    Args:
        logits: ``(M, V)`` at the masked positions, any float type; the loss is computed in float32 at least.
        labels: ``(M,)`` entries of the target vocabulary.

    Returns:
        loss in nats, summed over the ``M`` positions, and how many positions have the label as best entry.
    """
    wide = widen(logits)  # (M, V)
    loss = F.cross_entropy(wide, labels, reduction="sum")
    correct = (wide.detach().argmax(dim=-1) == labels).sum()
    return loss, correct


class MaskedTokenBlocks(BlockLoss):
    """The same as a :class:`cmlm_kd.losses.projection.BlockLoss`, which never holds the (M, V) matrix.

    Args:
        target: ``(M,)`` tokens that were masked.
        features: any tensor of the student's precision and device.

    Attributes:
        nll: ``(M,)`` negative log-likelihoods in nats; filled in as the blocks pass, as is the other.
        best: ``(M,)`` the likeliest tokens.
    """

    def __init__(self, target: Tensor, features: Tensor) -> None:
        kind = torch.promote_types(features.dtype, torch.float32)
        self._target = target
        self.nll = features.new_zeros(len(target), dtype=kind)  # (M,)
        self.best = torch.zeros_like(target)  # (M,)

    def __call__(self, logits: Tensor, rows: slice, gradient: bool) -> None:
        """Note what a block says of its tokens; turn its logits ``(n, V)`` into the gradient if wanted."""
        wanted = self._target[rows].unsqueeze(1)  # (n, 1)
        # Whatever is read of the logits is read first: the softmax takes their place.
        gold = logits.gather(1, wanted)  # (n, 1)
        torch.argmax(logits, 1, out=self.best[rows])
        normaliser = softmax_in_place(logits)  # (n, 1)
        # From logits and normaliser: the log of a probability that underflowed would be -inf.
        self.nll[rows] = (normaliser - gold).squeeze(1)
        if gradient:
            logits.scatter_add_(1, wanted, torch.full_like(gold, -1.0))  # softmax(z) - onehot(y)

    def total(self) -> Tensor:
        """Return the loss, summed over masked tokens."""
        return self.nll.sum()
