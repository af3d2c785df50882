"""What a KD criterion is: student outputs and a teacher's signal in, a loss and named terms out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from cmlm_kd.signals import SoftTargets


@dataclass(frozen=True)
class StudentOutput:
    """What a student says about a batch: its logits, or what they are projected from.

    Attributes:
        logits: ``(B, T, V)``, or None where ``features`` are given. Log-probabilities are logits too.
        features: ``(B, T, d)``, the hidden states that the output layer would project.
        weight: ``(V, d)``, the output embedding that goes with ``features``.
        bias: ``(V,)`` or None.
    """

    logits: Tensor | None = None
    features: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of the logits, or of the features they are projected from."""
        return self.projection()[0].dtype if self.logits is None else self.logits.dtype

    @property
    def vocabulary(self) -> int:
        """How many entries the student chooses from, V."""
        return self.projection()[1].size(0) if self.logits is None else self.logits.size(-1)

    def projection(self) -> tuple[Tensor, Tensor]:
        """Return features and weight.

        Raises:
            ValueError: if the student gave neither logits nor features with their weight.
        """
        if self.features is None or self.weight is None:
            raise ValueError("StudentOutput: give logits, or features and weight")
        return self.features, self.weight


@dataclass(frozen=True)
class Term:
    """One named part of a loss: a sum and the count that divides it; counts differ from term to term."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class CriterionOutput:
    """What a criterion returns.

    Attributes:
        loss: the scalar to differentiate, summed over tokens and not divided.
        terms: the named parts to log, detached.
        counts: further numbers to add up and show as they are.
    """

    loss: Tensor
    terms: dict[str, Term]
    counts: dict[str, Tensor] = field(default_factory=dict)


class KDCriterion(ABC):
    """Base of all KD criteria.

    A subclass is registered under a name with :data:`cmlm_kd.registry.kd_criteria` and is built from its
    config. It never learns where the teacher's signal comes from, nor which framework trains the student.

    Attributes:
        terms_in_nats: names of terms that are logged in base 2, as fairseq's users expect of log-likelihoods.
    """

    terms_in_nats: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: Any, padding_idx: int) -> None:
        """Keep the config and the target entry that stands for padding."""
        self.config = config
        self.padding_idx = padding_idx

    def wants_features(self, obstacle: str | None) -> bool:
        """Return whether the criterion takes hidden states and projects them itself.

        Args:
            obstacle: None, or why the student can only give logits.

        Raises:
            UserError: if the config insists on hidden states and there is an obstacle.
        """
        return False

    def check_teacher(self, k: int, tail_temperatures: Sequence[float]) -> None:
        """Refuse a store that cannot serve this criterion, before training starts.

        Args:
            k: entries a token in the store.
            tail_temperatures: temperatures at which the store has the tail.

        Raises:
            UserError: naming what is missing.
        """
        return

    @abstractmethod
    def training_loss(
        self, student: StudentOutput, target: Tensor, teacher: SoftTargets | None
    ) -> CriterionOutput:
        """Return the loss to train on; ``target (B, T)`` is right- or left-padded with ``padding_idx``."""

    @abstractmethod
    def validation_loss(self, student: StudentOutput, target: Tensor) -> CriterionOutput:
        """Return the loss by which students with and without a teacher are compared."""
