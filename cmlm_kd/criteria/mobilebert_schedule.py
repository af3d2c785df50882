"""MobileBERT's schedule: what the student learns at an update, and at which rates (Sun et al., 2020, section
3.5).

Three strategies, for L layers that learn and N updates of knowledge transfer:

auxiliary    one loss all the time: the transfer of all layers and the distillation of predictions
joint        the transfer of all layers for N updates, then distillation alone
progressive  the transfer of one layer after the other, N / L updates each, then distillation alone

The progressive strategy trains the layer whose turn it is; those below go on slowly, the rest waits. In
its released form (``distill_util.py``), at update t of a layer's n::

    background(t) = min(0.9 + 0.1 sqrt(1 - t / n), 10 t / n)       1 where n is 1
    rate factor   = 3 background    of the layer whose turn it is
                    0.3 background  of those below
                    0               of those above, the embeddings and the head

so that each layer's time begins with a warm-up over its first tenth. A factor of 0 also makes the optimiser
forget its moments (:mod:`cmlm_kd.optim`): at t = 0 all begin anew. So does distillation, whose first
update is one of factor 0, as if it were a training of its own; from then on all factors are 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cmlm_kd.optim import EMBEDDINGS_AND_HEAD

Strategy = Literal["progressive", "joint", "auxiliary"]


@dataclass(frozen=True)
class Stage:
    """What is learned at an update.

    Attributes:
        transfers: positions in the layer map, from 0, of the layers whose knowledge is transferred.
        distils: whether predictions are distilled.
    """

    transfers: range
    distils: bool


@dataclass(frozen=True)
class Schedule:
    """The course of a training; equations in the module docstring.

    Attributes:
        strategy: one of the three.
        layers: student layers that learn, rising, counted from 1.
        depth: layers of the student.
        transfer_updates: N; not read by ``auxiliary``. With 0 there is distillation alone.
        current_rate: factor of the layer whose turn it is, before the background's.
        finished_rate: of those below; 0 freezes them.
        rest_rate: of embeddings and head during the transfer.
    """

    strategy: Strategy
    layers: tuple[int, ...]
    depth: int
    transfer_updates: int
    current_rate: float = 3.0
    finished_rate: float = 0.3
    rest_rate: float = 0.0

    @property
    def updates_each(self) -> int:
        """Updates of a layer's turn, N / L rounded down; the last layer has what is left over besides."""
        return self.transfer_updates // len(self.layers)

    def stage(self, update: int) -> Stage:
        """Return what is learned after so many updates."""
        everything = range(len(self.layers))
        if self.strategy == "auxiliary":
            return Stage(everything, distils=True)
        if update >= self.transfer_updates:
            return Stage(range(0), distils=True)
        if self.strategy == "joint":
            return Stage(everything, distils=False)
        turn = self._turn(update)
        return Stage(range(turn, turn + 1), distils=False)

    def rate_factors(self, update: int) -> Mapping[str, float] | None:
        """Return the rate factor of each group of parameters after so many updates.

        Names are those of :func:`cmlm_kd.optim.group_by_layer`; None where all have the same rate for the
        whole training.
        """
        if self.strategy != "progressive" or not self.transfer_updates:
            return None
        if update >= self.transfer_updates:
            # A factor of 0 makes the optimiser forget its moments: distillation is a training of its own.
            rate = 0.0 if update == self.transfer_updates else 1.0
            return {
                EMBEDDINGS_AND_HEAD: rate,
                **{f"layer {layer}": rate for layer in range(1, self.depth + 1)},
            }
        turn = self._turn(update)
        background = background_rate(update - turn * self.updates_each, self.updates_each)
        last_finished = self.layers[turn - 1] if turn else 0
        factors = {EMBEDDINGS_AND_HEAD: self.rest_rate * background}
        for layer in range(1, self.depth + 1):
            if layer <= last_finished:
                rate = self.finished_rate
            else:
                # A layer that the map leaves out has its turn with the next mapped one above it.
                rate = self.current_rate if layer <= self.layers[turn] else 0.0
            factors[f"layer {layer}"] = rate * background
        return factors

    def _turn(self, update: int) -> int:
        return min(update // self.updates_each, len(self.layers) - 1)


def background_rate(update: int, updates: int) -> float:
    """Return the factor that all rates of a layer's turn have in common.

    Args:
        update: t, updates since the turn began.
        updates: n, how many it has.
    """
    if updates <= 1:
        return 1.0
    done = min(update / updates, 1.0)
    return min(0.9 + 0.1 * math.sqrt(1.0 - done), 10.0 * done)
