"""Soft targets of nearest neighbours, against a loop in float64."""

import math
import sys

import pytest
import torch

from cmlm_kd.errors import UserError
from cmlm_kd.teachers import nearest_neighbours
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


@pytest.mark.parametrize("index", [None, "Flat"])
def test_states_that_are_far_from_zero_have_the_neighbours_that_they_have_near_it(index):
    """As hidden states are in a few dimensions; |h|^2 + |key|^2 - 2 h key cancels there in float32."""
    if index:
        pytest.importorskip("faiss")
    draw = torch.Generator().manual_seed(2)
    keys, states = torch.randn(400, 512, generator=draw), torch.randn(256, 512, generator=draw)
    for rows in (keys, states):
        rows[:, :3] += torch.tensor([300.0, -400.0, 1000.0])
    values = torch.arange(400)
    found = NeighbourStore(keys, values, 3, 10.0, "knn", index).logits(states, 400)
    wanted = torch.cdist(states.double(), keys.double()).topk(3, largest=False).indices  # (n, 3)
    assert torch.equal(found.isfinite().nonzero()[:, 1].view(-1, 3), wanted.sort(1).values)


def test_the_nearest_counts_alone_where_it_is_cold_and_all_alike_where_it_is_hot():
    cold = NeighbourStore(KEYS, VALUES, 5, 1e-6, "knn").logits(KEYS, 6)
    assert torch.equal(cold.argmax(1), VALUES)
    hot = NeighbourStore(KEYS, VALUES, 30, 1e9, "knn").logits(KEYS[:1], 6)
    torch.testing.assert_close(hot[0, 1:].exp(), torch.full((5,), 0.2, dtype=torch.float64))


def test_too_few_keys_are_refused():
    with pytest.raises(UserError, match="has 30 target tokens; it must have 31, the number of neighbours"):
        NeighbourStore(KEYS, VALUES, 31, 1.0, "knn")


@pytest.mark.parametrize("index", ["Flat", "IVF2,Flat", "IVF4,Flat"])
def test_an_index_that_leaves_nothing_out_finds_the_same(index):
    """All cells are probed, there being fewer than that; distances are those of the keys."""
    keys = KEYS.float().repeat(6, 1) + torch.randn(180, 4, generator=torch.Generator().manual_seed(1))
    values = VALUES.repeat(6)
    exhaustive = NeighbourStore(keys, values, 7, 2.0, "knn").logits(keys[:50], 8)
    found = NeighbourStore(keys, values, 7, 2.0, "knn", index).logits(keys[:50], 8)
    torch.testing.assert_close(found, exhaustive)
    again = NeighbourStore(keys, values, 7, 2.0, "knn", index).logits(keys[:50], 8)
    assert torch.equal(found, again)


def test_an_index_that_finds_too_few(monkeypatch):
    """One cell is probed, which may have fewer keys than there are neighbours: the others weigh nothing."""
    monkeypatch.setattr(nearest_neighbours, "PROBED", 1)
    keys = torch.cat([torch.zeros(60, 4), torch.full((3, 4), 50.0)]) + torch.rand(63, 4)
    store = NeighbourStore(
        keys, torch.cat([torch.ones(60), torch.full((3,), 2)]).long(), 5, 2.0, "knn", "IVF2,Flat"
    )
    found = store.logits(torch.full((1, 4), 50.0), 4).exp()
    assert found[0].tolist() == pytest.approx([0, 0, 1, 0])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("nonsense", "faiss makes no index 'nonsense' of 30 keys of width 4"),
        ("IVF64,Flat", "of 30 keys of width 4"),
    ],
)
def test_an_index_that_faiss_does_not_make(index, message):
    with pytest.raises(UserError, match=message):
        NeighbourStore(KEYS, VALUES, 3, 1.0, "knn", index)


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"faiss is not installed; pip install 'cmlm-kd\[faiss\]'"):
        NeighbourStore(KEYS, VALUES, 3, 1.0, "knn", "Flat")
