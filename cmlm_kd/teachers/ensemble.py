"""One or more classifiers as a teacher."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cmlm_kd.api.needs import LOGITS, NOTHING_ELSE, PROBABILITIES, ModelDescription, Request
from cmlm_kd.api.signals import Ensembling, TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.data.classification.class_order import class_order
from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import SequenceClassifier, load_classifier
from cmlm_kd.models.encoders.pretrained import model_hash


@dataclass(frozen=True)
class Member:
    """One teacher: its model, and where its logits have the data's classes."""

    model: SequenceClassifier
    order: list[int]

    @functools.cached_property
    def identity(self) -> dict[str, str | int]:
        """What decides its outputs; hashes all weights, once."""
        return {
            "model": model_hash(self.model.config, self.model),
            "tokenizer": self.model.inputs.hash,
            "max_length": self.model.inputs.max_length,
            "order": ",".join(map(str, self.order)),
        }


class TeacherEnsemble(SignalSource):
    """Teachers whose outputs become one signal.

    Args:
        members: at least one.
        ensembling: how several become one; scores are always averaged as they are.
        labels: the data's classes.
    """

    def __init__(self, members: Sequence[Member], ensembling: Ensembling, labels: Sequence[str]) -> None:
        self.members = list(members)
        self.ensembling: Ensembling = ensembling if labels else "logits"
        self.labels = tuple(labels)

    @classmethod
    def load(
        cls,
        names: Sequence[str],
        labels: Sequence[str],
        *,
        ensembling: Ensembling = "probabilities",
        max_length: int = 0,
        values: Mapping[str, str] | None = None,
        teacher_labels: Sequence[str] = (),
    ) -> TeacherEnsemble:
        """Load teachers and match their classes with the data's.

        Args:
            names: Hugging Face directories or hub names.
            labels: the data's classes; empty for scores.
            ensembling: how several become one.
            max_length: longest input in tokens; a teacher that takes less gets less, 0: what it takes.
            values: what the corpus's files call the classes.
            teacher_labels: names of the teachers' classes, where their own say nothing.

        Raises:
            UserError: if a directory holds no classifier, or its classes are not the data's.
        """
        members = []
        for name in names:
            model = load_classifier(name)
            if max_length:
                model.inputs.max_length = min(max_length, model.inputs.max_length)
            order = class_order(
                model.labels,
                labels,
                name=model.name,
                values=values,
                given=teacher_labels,
                several=len(names) > 1,
            )
            members.append(Member(model, order))
        return cls(members, ensembling, labels)

    @property
    def hashes(self) -> list[str]:
        """Of each member: of its configuration and weights."""
        return [str(member.identity["model"]) for member in self.members]

    @property
    def description(self) -> ModelDescription:
        """What it can give: one teacher everything, several their logits or probabilities."""
        if len(self.members) == 1:
            own = self.members[0].model.description
            return ModelDescription(**{**vars(own), "labels": self.labels})
        provides = {PROBABILITIES} | ({LOGITS} if self.ensembling == "logits" else set())
        names = ", ".join(member.model.name.removeprefix("teacher ") for member in self.members)
        return ModelDescription(f"ensemble of {names}", frozenset(provides), self.labels)

    @torch.no_grad()
    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Run every teacher on a batch; see :meth:`SignalSource.signal`.

        Args:
            batch: its inputs, and those of each teacher with a tokenizer of its own, are ``input_ids``,
                ``attention_mask`` and ``token_type_ids``, each ``(B, S)``.
            request: what to compute.
            dropout: run in training mode, as some released code does.

        Raises:
            UserError: if a teacher's logits are not finite, naming it and the example.
        """
        outputs = []
        for position, member in enumerate(self.members):
            inputs = batch.other_inputs.get(position, batch.inputs)
            member.model.to(inputs["input_ids"].device).train(dropout)
            output = member.model(**inputs, request=request)
            ordered = output.sentence_logits()[:, member.order]  # (B, C)
            _check_finite(ordered, member.model.name, batch.place)
            outputs.append(replace(output, logits=ordered))
        return TeacherSignal(tuple(outputs), self.ensembling)

    def check_lengths(self, tokenizer: str, longest: int) -> None:
        """Refuse a teacher that reads the student's ids but takes less of them.

        Args:
            tokenizer: hash of the student's.
            longest: ids of the student's longest input.

        Raises:
            UserError: naming the teacher and both lengths.
        """
        for member in self.members:
            inputs = member.model.inputs
            if inputs.hash == tokenizer and inputs.max_length < longest:
                raise UserError(
                    f"{member.model.name} takes {inputs.max_length} tokens, the student up to {longest}; "
                    f"pass --max-length {inputs.max_length}"
                )

    def with_other_tokenizers(self, tokenizer: str) -> dict[int, SequenceClassifier]:
        """Return the members that cannot read the student's ids, by position."""
        return {
            position: member.model
            for position, member in enumerate(self.members)
            if member.model.inputs.hash != tokenizer
        }


def _check_finite(logits: Tensor, name: str, place: Callable[[int], str] | None) -> None:
    finite = logits.isfinite().all(-1)  # (B,)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        row = f"row {first} of the batch" if place is None else place(first)
        raise UserError(
            f"{name} gives {logits[first].tolist()} for {row}: its weights or its arithmetic overflow; check "
            "it with 'cmlm-kd evaluate', or run it without --bf16-autocast"
        )
