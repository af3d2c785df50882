"""Several teachers as one: the mean of their probabilities."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher, Pairs
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import POSITIVE


class MeanOfTeachers(NextTokenTeacher):
    """The weighted mean of several teachers' probabilities, whatever their kinds.

    Args:
        members: at least one.
        weights: of each; they are divided by their sum.

    Attributes:
        members: the same.
        weights: the same, with sum 1.
    """

    def __init__(self, members: Sequence[NextTokenTeacher], weights: Sequence[float]) -> None:
        self.members = tuple(members)
        self.weights = tuple(weight / sum(weights) for weight in weights)
        self.kind = "mean of " + ", ".join(member.kind for member in members)

    @property
    def name(self) -> str:
        """The members' names and weights."""
        named = zip(self.members, self.weights, strict=True)
        return " + ".join(f"{weight:g} x {member.name}" for member, weight in named)

    @property
    def hash(self) -> str:
        """Hash of the members' hashes and weights."""
        known = [[member.hash, weight] for member, weight in zip(self.members, self.weights, strict=True)]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs every member reads."""
        readable = [member.readable(pairs) for member in self.members]
        return np.all(readable, axis=0)  # type: ignore[no-any-return]

    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return the logarithm of the mean; one member's distribution in memory at a time besides it."""
        logits: Tensor | None = None
        outside: Tensor | None = None
        for member, weight in zip(self.members, self.weights, strict=True):
            said = member.next_tokens(pairs).log_probabilities()
            log_weight = math.log(weight)
            mine = said.logits.add_(log_weight)  # (N, V)
            logits = mine if logits is None else torch.logaddexp(logits, mine.to(logits.device), out=logits)
            if said.outside is not None:
                rest = said.outside + log_weight  # (N,)
                outside = rest if outside is None else outside.logaddexp(rest.to(outside.device))
        return NextTokens(logits, outside)  # type: ignore[arg-type]  # a mean has members


def check_weights(weights: Sequence[float] | None, teachers: Sequence[object]) -> tuple[float, ...]:
    """Return one weight for each teacher; equal ones where none are given.

    Raises:
        UserError: there are more or fewer of them than teachers, or one is not above 0.
    """
    if weights is None:
        return (1.0,) * len(teachers)
    if len(weights) != len(teachers):
        raise UserError(
            f"--weights has {len(weights)} numbers ({' '.join(f'{weight:g}' for weight in weights)}) for "
            f"{len(teachers)} teachers; give one for each, in the order of --teacher"
        )
    for weight in weights:
        if not POSITIVE.contains(weight):
            raise UserError(
                f"--weights has {weight:g}; each must be above 0 (leave a teacher out instead of 0)"
            )
    return tuple(weights)
