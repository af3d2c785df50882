"""Soft targets of the nearest neighbours of a translator's states (Yang et al., 2022, kNN-KD).

A datastore holds the state from which a translator predicts each target token of a corpus, and that token.
For a state h with its k nearest keys at squared Euclidean distances d_j and with target tokens y_j::

    q[v] = sum over j with y_j = v of softmax(-d / T)[j]

as the released code has it (``fairseq/criterions/knn_label_smoothed_cross_entropy.py``, strategy ``knn_kd``).
A state that is in the datastore itself is its own nearest neighbour, there as here. The search is exhaustive,
or by an index of faiss; distances are those of the keys themselves either way, so that an index decides which
neighbours are found, and nothing else. (The released code takes the distances of its index of 4,096 cells,
which are approximate: ``commands/build_knntargets.sh``, ``do_not_recomp_l2``.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cmlm_kd.errors import UserError, first_line

MOST_KEYS = 1_000_000
"""Beyond it an exhaustive search takes days."""

PROBED = 32
"""Cells of an inverted file (IVF) that a search looks into; ``commands/build_faiss.sh`` of that code."""

QUERIES_AT_ONCE = 256


class NeighbourStore:
    """States and the tokens that followed them.

    Args:
        keys: ``(M, d)`` float32.
        values: ``(M,)`` int64, entries of the target dictionary.
        neighbours: k, at least 1.
        temperature: T above 0.
        owner: whose it is, for messages.
        index: of faiss, as its ``index_factory`` reads it, such as ``IVF4096,PQ64``; None: exhaustive search.

    Raises:
        UserError: there are fewer keys than neighbours, or too many for an exhaustive search; there is no
            such index, it needs more keys, or faiss is not installed.
    """

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        neighbours: int,
        temperature: float,
        owner: str,
        index: str | None = None,
    ) -> None:
        if len(keys) < neighbours or (index is None and len(keys) > MOST_KEYS):
            raise UserError(
                f"{owner}: the training set has {len(keys):,} target tokens; it must have {neighbours:,}, "
                f"the number of neighbours, to {MOST_KEYS:,}, since all are compared with all; for more name "
                "an index of faiss, such as knn=CHECKPOINT:64:100:IVF4096,PQ64"
            )
        # Distances between points stay; sums of large squares, which float32 rounds, become small.
        self._middle = keys.mean(0)  # (d,)
        keys = keys - self._middle
        self.index = index
        self._faiss = None if index is None else _faiss_index(keys, index, owner)
        self.keys, self.values = keys, values
        self.neighbours, self.temperature = neighbours, temperature
        self._norms = keys.square().sum(1)  # (M,)

    def logits(self, states: Tensor, vocabulary: int) -> Tensor:
        """Return log q, minus infinity for entries of no neighbour: ``(N, d)`` -> ``(N, V)``."""
        found = [self._block(block, vocabulary) for block in torch.split(states, QUERIES_AT_ONCE)]
        return torch.cat(found) if found else states.new_empty(0, vocabulary)

    def _block(self, states: Tensor, vocabulary: int) -> Tensor:
        states = states - self._middle
        near = self._nearest(states)  # (n, k)
        distances = (states[:, None] - self.keys[near]).square().sum(-1)  # (n, k), without cancellation
        distances = distances.masked_fill(near < 0, float("inf"))  # an index may find fewer
        weights = (-distances / self.temperature).softmax(-1)  # (n, k)
        q = states.new_zeros(len(states), vocabulary).scatter_add_(1, self.values[near], weights)  # (n, V)
        return q.log()

    def _nearest(self, states: Tensor) -> Tensor:
        """Return the places of the nearest keys, ``(n, k)``, -1 where an index found fewer."""
        if self._faiss is None:
            return self._exhaustive(states)
        found = self._faiss.search(states.float().cpu().numpy(), self.neighbours)[1]  # (n, k)
        near = torch.from_numpy(found).to(states.device)
        none = (near < 0).all(1)  # (n,)
        if none.any():
            near[none] = self._exhaustive(states[none])
        return near

    def _exhaustive(self, states: Tensor) -> Tensor:
        # |h - key|^2 without |h|^2, which is the same for all keys.
        distances = self._norms - 2.0 * states @ self.keys.t()  # (n, M)
        return distances.topk(self.neighbours, dim=1, largest=False).indices


def _faiss_index(keys: Tensor, name: str, owner: str) -> Any:
    """Return an index with all keys; its k-means is seeded, so that equal keys make an equal one."""
    try:
        import faiss
    except ImportError as error:
        raise UserError(f"{owner}: faiss is not installed; pip install 'cmlm-kd[faiss]'") from error
    rows = keys.float().cpu().contiguous().numpy()
    try:
        index = faiss.index_factory(rows.shape[1], name)
        index.train(rows)
        index.add(rows)
        if "IVF" in name:
            faiss.ParameterSpace().set_index_parameter(index, "nprobe", PROBED)
    except RuntimeError as error:
        raise UserError(
            f"{owner}: faiss makes no index {name!r} of {len(rows):,} keys of width {rows.shape[1]} "
            f"({first_line(error)}); give another, such as IVF4096,PQ64"
        ) from error
    return index
