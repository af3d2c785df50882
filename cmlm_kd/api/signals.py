"""What passes from a teacher to a criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cmlm_kd.losses.divergences import widen


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


Ensembling = Literal["probabilities", "logits"]
"""How several teachers become one: by the mean of their probabilities (MT-DNN), or of their logits."""


@dataclass
class TeacherSignal:
    """What one teacher, or an ensemble, says about a batch; a criterion reads what it declared that it needs.

    Attributes:
        members: dense logits of each teacher, ``(B, C)`` each in the student's order of classes; ``C`` is 1
            for scores. Empty where there are none.
        ensembling: how several members become one.
        soft_targets: sparse beliefs about every target token, or None.
        hidden_states: layer (0: embeddings) -> ``(B, S, d)``, or ``(B, d)`` where the first position alone
            was asked for.
        attention_scores: layer (from 1) -> ``(B, h, S, S)`` before the softmax, the padding mask added.
        features: of a masked language model ``(N, d)``, what its output layer would project at the student's
            N positions; None where ``members`` has logits ``(N, V)`` instead, or nothing was asked for.
        weight: ``(V, d)``, the output layer that goes with ``features``.
        bias: ``(V,)`` or None.
    """

    members: tuple[Tensor, ...] = ()
    ensembling: Ensembling = "probabilities"
    soft_targets: SoftTargets | None = None
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)
    attention_scores: Mapping[int, Tensor] = field(default_factory=dict)
    features: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def predicts(self) -> bool:
        """Whether there are logits, or what they are projected from."""
        return bool(self.members) or self.features is not None

    def vocabulary_logits(self) -> Tensor:
        """Return a masked language model's logits, ``(N, V)``, in float32 at least.

        Raises:
            ValueError: if there are none.
        """
        if self.features is None or self.weight is None:
            return self.logits
        return widen(F.linear(self.features, self.weight, self.bias))

    @property
    def logits(self) -> Tensor:
        """The mean of the members' logits, ``(B, C)``, float32 at least.

        Raises:
            ValueError: if there are none, or if the members are to be averaged as probabilities.
        """
        if not self.members or (len(self.members) > 1 and self.ensembling != "logits"):
            raise ValueError("TeacherSignal: no logits; an ensemble that averages probabilities has none")
        return torch.stack([widen(logits) for logits in self.members]).mean(0)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the distribution over classes at a temperature above 0, ``(B, C)``.

        With ``ensembling="probabilities"`` the temperature divides each member's logits, and the softmaxes
        are averaged.

        Raises:
            ValueError: if there are no logits.
        """
        if len(self.members) == 1 or self.ensembling == "logits":
            return (self.logits / temperature).softmax(-1)
        if not self.members:
            raise ValueError("TeacherSignal: there are no logits")
        return torch.stack([(widen(logits) / temperature).softmax(-1) for logits in self.members]).mean(0)

    def to_batch(self) -> dict[str, Any]:
        """Return a plain dictionary, the form in which the signal travels as ``sample["teacher"]``."""
        batch: dict[str, Any] = {} if self.soft_targets is None else self.soft_targets.to_batch()
        if self.members:
            batch.update(members=list(self.members), ensembling=self.ensembling)
        for name in ("hidden_states", "attention_scores"):
            if getattr(self, name):
                batch[name] = dict(getattr(self, name))
        for name in ("features", "weight", "bias"):
            if getattr(self, name) is not None:
                batch[name] = getattr(self, name)
        return batch

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any]) -> TeacherSignal:
        """Rebuild the signal from ``sample["teacher"]``."""
        return cls(
            members=tuple(batch.get("members", ())),
            ensembling=batch.get("ensembling", "probabilities"),
            soft_targets=SoftTargets.from_batch(dict(batch)) if "ids" in batch else None,
            hidden_states=batch.get("hidden_states", {}),
            attention_scores=batch.get("attention_scores", {}),
            features=batch.get("features"),
            weight=batch.get("weight"),
            bias=batch.get("bias"),
        )
