"""Relevance ranking: the candidates of a query, of which one is right (MT-DNN, Liu et al., 2019, section 3).

A corpus of pairs becomes one of queries: pairs with the same first sentence are a query's candidates. A
model gives each pair a score; the softmax over a query's scores is the probability that a candidate is the
right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.data.classification.examples import Examples, hold_out
from cmlm_kd.errors import UserError

ABSENT = -1e30
"""Score of what pads a short list of candidates: finite, so that a probability of 0 times it is 0."""


@dataclass(frozen=True)
class Queries:
    """The queries of a corpus of pairs.

    Attributes:
        rows: of each query, the positions of its candidates among the examples, two or more.
        relevant: ``(G,)`` int64, which candidate of each query is the right one.
        left_out: examples of queries with one candidate, or with none or several right ones.
    """

    rows: list[NDArray[np.int64]]
    relevant: NDArray[np.int64]
    left_out: int

    def __len__(self) -> int:
        return len(self.rows)


def group_by_query(examples: Examples, right: str) -> Queries:
    """Return the queries of a corpus, in the order of their first candidates.

    Args:
        examples: pairs with classes.
        right: the class of right candidates.

    Raises:
        UserError: if no query has one right candidate among several.
    """
    if examples.second is None or examples.target is None or right not in examples.labels:
        raise ValueError("group_by_query: pairs with that class are needed")
    members: dict[str, list[int]] = {}
    for row, query in enumerate(examples.first):
        members.setdefault(query, []).append(row)
    is_right = examples.target == examples.labels.index(right)  # (N,)
    rows = [np.array(found, np.int64) for found in members.values()]
    kept = [found for found in rows if len(found) > 1 and is_right[found].sum() == 1]
    if not kept:
        raise UserError(
            f"{examples.source}: no first sentence comes with several second ones of which one is "
            f"{right!r}; rank a corpus that has candidates for each query, or train it as classification "
            "(leave it out of --ranking)"
        )
    relevant = np.array([is_right[found].argmax() for found in kept], np.int64)  # (G,)
    return Queries(kept, relevant, len(examples) - sum(map(len, kept)))


def hold_out_queries(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split pairs at random as :func:`cmlm_kd.data.classification.hold_out` does, never a query's candidates.

    Raises:
        UserError: if the share of the queries is outside (0, 1), or leaves one of the parts empty.
    """
    first_rows = {query: row for row, query in reversed(list(enumerate(examples.first)))}
    queries = examples.select(sorted(first_rows.values()))
    _, held = hold_out(queries, share, seed)
    wanted = set(held.first)
    sides: tuple[list[int], list[int]] = ([], [])
    for row, query in enumerate(examples.first):
        sides[query in wanted].append(row)
    return examples.select(sides[0]), examples.select(sides[1])


def by_query(scores: Tensor, sizes: Tensor) -> Tensor:
    """Return the scores of each query's candidates, ``(G, K)``, padded with :data:`ABSENT`.

    Args:
        scores: ``(B, 1)``, query after query; float32 at least.
        sizes: ``(G,)`` how many candidates each query has; they sum to B.
    """
    lists = torch.split(scores.squeeze(-1), sizes.tolist())
    return torch.nn.utils.rnn.pad_sequence(list(lists), batch_first=True, padding_value=ABSENT)


def reciprocal_ranks(scores: Tensor, relevant: Tensor) -> Tensor:
    """Return 1 / rank of each query's right candidate, ``(G,)``; among equals it is the last.

    Args:
        scores: ``(G, K)``.
        relevant: ``(G,)``, which candidate is right.
    """
    own = scores.gather(1, relevant.unsqueeze(1))  # (G, 1)
    rank = (~(scores < own)).sum(1)  # (G,), what is not a number counts as better
    return 1.0 / rank
