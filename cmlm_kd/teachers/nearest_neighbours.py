"""Soft targets of the nearest neighbours of a translator's states (Yang et al., 2022, kNN-KD).

A datastore holds the state from which a translator predicts each target token of a corpus, and that token.
For a state h with its k nearest keys at squared Euclidean distances d_j and with target tokens y_j::

    q[v] = sum over j with y_j = v of softmax(-d / T)[j]

as the released code has it (``fairseq/criterions/knn_label_smoothed_cross_entropy.py``, strategy ``knn_kd``).
A state that is in the datastore itself is its own nearest neighbour, there as here. The search is exhaustive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cmlm_kd.errors import UserError

MOST_KEYS = 1_000_000
"""Beyond it an exhaustive search takes days; the released code uses an index of faiss."""

QUERIES_AT_ONCE = 256


class NeighbourStore:
    """States and the tokens that followed them.

    Args:
        keys: ``(M, d)`` float32.
        values: ``(M,)`` int64, entries of the target dictionary.
        neighbours: k, at least 1.
        temperature: T above 0.
        owner: whose it is, for messages.

    Raises:
        UserError: there are fewer keys than neighbours, or too many for an exhaustive search.
    """

    def __init__(self, keys: Tensor, values: Tensor, neighbours: int, temperature: float, owner: str) -> None:
        if not neighbours <= len(keys) <= MOST_KEYS:
            raise UserError(
                f"{owner}: the training set has {len(keys):,} target tokens; it must have {neighbours:,}, "
                f"the number of neighbours, to {MOST_KEYS:,}, since all are compared with all"
            )
        self.keys, self.values = keys, values
        self.neighbours, self.temperature = neighbours, temperature
        self._norms = keys.square().sum(1)  # (M,)

    def logits(self, states: Tensor, vocabulary: int) -> Tensor:
        """Return log q, minus infinity for entries of no neighbour: ``(N, d)`` -> ``(N, V)``."""
        found = [self._block(block, vocabulary) for block in torch.split(states, QUERIES_AT_ONCE)]
        return torch.cat(found) if found else states.new_empty(0, vocabulary)

    def _block(self, states: Tensor, vocabulary: int) -> Tensor:
        # |h - key|^2 without |h|^2, which is the same for all keys.
        near = self._norms - 2.0 * states @ self.keys.t()  # (n, M)
        near = near.topk(self.neighbours, dim=1, largest=False).indices  # (n, k)
        distances = (states[:, None] - self.keys[near]).square().sum(-1)  # (n, k), without cancellation
        weights = (-distances / self.temperature).softmax(-1)  # (n, k)
        q = states.new_zeros(len(states), vocabulary).scatter_add_(1, self.values[near], weights)  # (n, V)
        return q.log()
