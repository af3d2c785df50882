"""What passes from a teacher to a criterion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class SoftTargets:
    """The teacher's top-k beliefs about every target token of a batch.

    Attributes:
        ids: entries of the student's target vocabulary, ``(B, T, k)``, any integer type, best first.
        logits: the teacher's raw logits of these entries, ``(B, T, k)``; float16 on disk and in the batch,
            the criterion upcasts.
        tail: log-sum-exp of all other logits divided by each temperature in ``tail_temperatures``,
            ``(B, T, len(tail_temperatures))``.
        valid: ``(B, T)`` bool; False on padding and on sentences the teacher has no row for. Those tokens are
            trained on hard labels alone, with full weight.
        tail_temperatures: the temperatures of ``tail``.
    """

    ids: Tensor
    logits: Tensor
    tail: Tensor
    valid: Tensor
    tail_temperatures: tuple[float, ...] = (1.0,)

    def flatten(self) -> SoftTargets:
        """Return the same signal with ``(B, T)`` folded into one token axis ``(B*T,)``."""
        return SoftTargets(
            self.ids.flatten(0, 1),  # (B*T, k)
            self.logits.flatten(0, 1),  # (B*T, k)
            self.tail.flatten(0, 1),  # (B*T, n)
            self.valid.flatten(),  # (B*T,)
            self.tail_temperatures,
        )

    def to_batch(self) -> dict[str, object]:
        """Return a plain dictionary, the form that survives fairseq's ``move_to_cuda`` and casts."""
        return {
            "ids": self.ids,
            "logits": self.logits,
            "tail": self.tail,
            "valid": self.valid,
            "tail_temperatures": self.tail_temperatures,
        }

    @classmethod
    def from_batch(cls, batch: dict[str, object]) -> SoftTargets:
        """Rebuild the signal from ``sample["teacher"]``."""
        tensors = {name: batch[name] for name in ("ids", "logits", "tail", "valid")}
        for name, value in tensors.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"SoftTargets: {name} must be a tensor, got {type(value).__name__}")
        temperatures = batch["tail_temperatures"]
        return cls(**tensors, tail_temperatures=tuple(temperatures))  # type: ignore[arg-type]
