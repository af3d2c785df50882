"""One worker's share of a work that is cut into shards: every n-th of them from the i-th on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cmlm_kd.errors import UserError

RANK = "rank"
"""What stands for the share of a process that a launcher has numbered."""

_LAUNCHERS = {"torchrun": ("RANK", "WORLD_SIZE"), "srun": ("SLURM_PROCID", "SLURM_NTASKS")}
"""Variables of the environment with a process's number, from 0, and the number of processes."""


@dataclass(frozen=True)
class Share:
    """The i-th of n shares.

    Attributes:
        index: which, 1 to ``count``.
        count: how many workers there are.

    Raises:
        UserError: there is no such share.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UserError(f"--shard is {self}; it must be from 1/{self.count} to {self.count}/{self.count}")

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Share:
        """Return the share that ``I/N``, or ``rank``, names.

        Args:
            text: what the user gave to ``--shard``.
            environment: where a launcher says which process this is.

        Raises:
            UserError: it names none.
        """
        if text == RANK:
            return cls._of_process(environment)
        match = re.fullmatch(r"(\d+)/([1-9]\d*)", text)
        if match is None:
            raise UserError(
                f"--shard is {text!r}; give I/N, such as 1/4, the first of four, or {RANK!r} under "
                f"{' or '.join(_LAUNCHERS)}"
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def _of_process(cls, environment: Mapping[str, str]) -> Share:
        for rank, size in _LAUNCHERS.values():
            if rank in environment and size in environment:
                return cls(int(environment[rank]) + 1, int(environment[size]))
        known = ", ".join(f"{' and '.join(names)} ({name})" for name, names in _LAUNCHERS.items())
        raise UserError(
            f"--shard is {RANK}, but nothing has numbered this process: {known} are not set; give I/N, such "
            "as 1/4"
        )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, shard: int) -> bool:
        """Return whether a shard, by its number from 0, is this worker's."""
        return shard % self.count == self.index - 1


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return which of a machine's processes this is, as its launcher says; 0 without one."""
    found = (environment.get(name, "") for name in ("LOCAL_RANK", "SLURM_LOCALID"))
    return next((int(value) for value in found if value.isdecimal()), 0)
