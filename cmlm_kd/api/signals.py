"""The signal of a teacher: the form in which a criterion gets what a teacher says about a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.losses.divergences import widen


@dataclass(frozen=True)
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

    def to_batch(self) -> dict[str, Any]:
        """Return a plain dictionary; see :meth:`TeacherSignal.to_batch`."""
        return _plain(self)

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any]) -> SoftTargets:
        """Return the signal that :meth:`to_batch` made a dictionary of."""
        tensors = {name: batch[name] for name in ("ids", "logits", "tail", "valid")}
        for name, value in tensors.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"SoftTargets: {name} must be a tensor, got {type(value).__name__}")
        return cls(**tensors, tail_temperatures=tuple(batch["tail_temperatures"]))


Ensembling = Literal["probabilities", "logits"]
"""How several teachers become one: by the mean of their probabilities (MT-DNN), or of their logits."""


@dataclass(frozen=True)
class TeacherSignal:
    """What one teacher, or an ensemble, says about a batch; a criterion reads what it declared that it needs.

    Attributes:
        outputs: of each teacher; logits ``(B, C)`` of classifiers are in the student's order of classes, with
            ``C`` 1 for scores, and a masked language model predicts at the student's N positions. Empty
            where there are soft targets alone.
        ensembling: how several outputs become one.
        soft_targets: sparse beliefs about every target token, or None.
        again: asks a translator about the same sources once more, with the tokens ``(B, T)`` in the place of
            the target's, padded where it is; each row ends as the target's does. None where it was not asked
            for.
    """

    outputs: tuple[ModelOutput, ...] = ()
    ensembling: Ensembling = "probabilities"
    soft_targets: SoftTargets | None = None
    again: Callable[[Tensor], TeacherSignal] | None = None

    @classmethod
    def of_logits(cls, *logits: Tensor, ensembling: Ensembling = "probabilities") -> TeacherSignal:
        """Return the signal of teachers that give logits and nothing else, ``(B, C)`` or ``(N, V)`` each."""
        return cls(tuple(ModelOutput(logits=each) for each in logits), ensembling)

    @property
    def members(self) -> tuple[Tensor, ...]:
        """Dense logits of each teacher that gives some, ``(B, C)`` each."""
        return tuple(output.logits for output in self.outputs if output.logits is not None)

    @property
    def hidden_states(self) -> Mapping[int, Tensor]:
        """Layer -> hidden states of the only teacher, see :class:`ModelOutput`; none of an ensemble."""
        return self._only.hidden_states

    @property
    def attention_scores(self) -> Mapping[int, Tensor]:
        """Layer -> attention scores of the only teacher, see :class:`ModelOutput`; none of an ensemble."""
        return self._only.attention_scores

    @property
    def only_output(self) -> ModelOutput:
        """All that the only teacher gave; nothing of an ensemble."""
        return self._only

    @property
    def features(self) -> Tensor | None:
        """What the only teacher's output layer would project, ``(N, d)``; None where there are logits."""
        return self._only.features

    @property
    def weight(self) -> Tensor | None:
        """The output layer that goes with ``features``, ``(V, d)``."""
        return self._only.weight

    @property
    def bias(self) -> Tensor | None:
        """Its bias, ``(V,)`` or None."""
        return self._only.bias

    @property
    def _only(self) -> ModelOutput:
        return self.outputs[0] if len(self.outputs) == 1 else ModelOutput()

    @property
    def predicts(self) -> bool:
        """Whether there are logits, or what they are projected from."""
        return bool(self.members) or self.features is not None

    def vocabulary_logits(self) -> Tensor:
        """Return a masked language model's logits, ``(N, V)``, in float32 at least.

        Raises:
            ValueError: if there are none.
        """
        return self.logits if self.features is None else self._only.vocabulary_logits()

    @property
    def logits(self) -> Tensor:
        """The mean of the members' logits, ``(B, C)``, float32 at least.

        Raises:
            ValueError: if there are none, or if the members are to be averaged as probabilities.
        """
        members = self.members
        if not members or (len(members) > 1 and self.ensembling != "logits"):
            raise ValueError("TeacherSignal: no logits; an ensemble that averages probabilities has none")
        return torch.stack([widen(logits) for logits in members]).mean(0)

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the distribution over classes at a temperature above 0, ``(B, C)``.

        With ``ensembling="probabilities"`` the temperature divides each member's logits, and the softmaxes
        are averaged.

        Raises:
            ValueError: if there are no logits.
        """
        members = self.members
        if len(members) == 1 or self.ensembling == "logits":
            return (self.logits / temperature).softmax(-1)
        if not members:
            raise ValueError("TeacherSignal: there are no logits")
        return torch.stack([(widen(logits) / temperature).softmax(-1) for logits in members]).mean(0)

    def log_probabilities(self, temperature: float = 1.0) -> Tensor:
        """Return the logarithms of :meth:`probabilities`, ``(B, C)``, exact where those underflow."""
        members = self.members
        if len(members) == 1 or self.ensembling == "logits":
            return (self.logits / temperature).log_softmax(-1)
        if not members:
            raise ValueError("TeacherSignal: there are no logits")
        each = torch.stack([(widen(logits) / temperature).log_softmax(-1) for logits in members])  # (M, B, C)
        return each.logsumexp(0) - math.log(len(members))

    def to_batch(self) -> dict[str, Any]:
        """Return dictionaries, lists and tensors alone: the form that a data loader puts into a batch.

        fairseq moves a batch to the GPU and casts its float32 tensors (``--fp16``, ``--bf16``) by walking
        through dictionaries, lists and tuples; an object would stay behind on the CPU, in its own type. What
        a task puts beside a batch later, in ``train_step`` or ``valid_step``, nothing walks through: there
        the signal stays an object.
        """
        batch: dict[str, Any] = {} if self.soft_targets is None else self.soft_targets.to_batch()
        if self.outputs:
            batch["outputs"] = [_plain(output) for output in self.outputs]
            batch["ensembling"] = self.ensembling
        return batch

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any]) -> TeacherSignal:
        """Return the signal that :meth:`to_batch` made dictionaries of."""
        return cls(
            tuple(_output(output) for output in batch.get("outputs", ())),
            batch.get("ensembling", "probabilities"),
            SoftTargets.from_batch(batch) if "ids" in batch else None,
        )


def _plain(record: SoftTargets | ModelOutput) -> dict[str, Any]:
    """Return the fields of a dataclass, those alone that say something; mappings as dictionaries."""
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: _plain_value(value) for name, value in found.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, ModelOutput):  # the encoder of a translator's
        return _plain(value)
    return dict(value) if isinstance(value, Mapping) else value


def _output(batch: Mapping[str, Any]) -> ModelOutput:
    """Return the output that :func:`_plain` made a dictionary of."""
    inner = {name: _output(value) for name, value in batch.items() if name == "encoder"}
    return ModelOutput(**{**batch, **inner})
