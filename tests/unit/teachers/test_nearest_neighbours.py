"""Soft targets of nearest neighbours, against a loop in float64."""

import math

import pytest
import torch

from cmlm_kd.errors import UserError
from cmlm_kd.teachers.nearest_neighbours import NeighbourStore

KEYS = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
VALUES = torch.arange(30) % 5 + 1


def test_against_a_loop():
    states = torch.cat((KEYS[:3], torch.zeros(1, 4, dtype=torch.float64)))
    found = NeighbourStore(KEYS, VALUES, 7, 2.0, "knn").logits(states, 8)
    for state, row in zip(states, found, strict=True):
        near = sorted((sum((a - b) ** 2 for a, b in zip(state, key, strict=True)).item(), value)
                      for key, value in zip(KEYS, VALUES.tolist(), strict=True))[:7]  # fmt: skip
        total = sum(math.exp(-distance / 2.0) for distance, _ in near)
        for entry in range(8):
            mass = sum(math.exp(-distance / 2.0) for distance, value in near if value == entry) / total
            assert row[entry].exp().item() == pytest.approx(mass, abs=1e-12)


def test_the_nearest_counts_alone_where_it_is_cold_and_all_alike_where_it_is_hot():
    cold = NeighbourStore(KEYS, VALUES, 5, 1e-6, "knn").logits(KEYS, 6)
    assert torch.equal(cold.argmax(1), VALUES)
    hot = NeighbourStore(KEYS, VALUES, 30, 1e9, "knn").logits(KEYS[:1], 6)
    torch.testing.assert_close(hot[0, 1:].exp(), torch.full((5,), 0.2, dtype=torch.float64))


def test_too_few_keys_are_refused():
    with pytest.raises(UserError, match="has 30 target tokens; it must have 31, the number of neighbours"):
        NeighbourStore(KEYS, VALUES, 31, 1.0, "knn")
