"""Teachers that run beside the student: the soft targets of a store, computed in the step that needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, PROBABILITIES, SOFT_TARGETS, ModelDescription, Request
from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher, Pairs, TranslationData
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import NamedSource, TeacherBatch, TrainingSet, signal_sources
from cmlm_kd.errors import UserError
from cmlm_kd.store.format import LOWEST_LOGIT
from cmlm_kd.system.ranges import POSITIVE
from cmlm_kd.teachers.kinds import load_teachers
from cmlm_kd.teachers.shards import DumpOptions
from cmlm_kd.teachers.teacher_forcing import half_of, summarise_next_tokens

WEIGHT = "*"
"""Stands between the weight of a teacher and its path, where there are several."""


@signal_sources.register("online")
class OnlineTeacher(NamedSource):
    """One or more teachers, asked about each batch before the student's step.

    Args:
        teacher: who is asked.
        vocabulary: entries of the target dictionary.
        tail_temperatures: at which the mass outside the k entries is given.
    """

    def __init__(
        self, teacher: NextTokenTeacher, vocabulary: int, tail_temperatures: tuple[float, ...]
    ) -> None:
        self.teacher, self.vocabulary, self.tail_temperatures = teacher, vocabulary, tail_temperatures

    @classmethod
    def from_argument(cls, argument: str, training_set: TrainingSet) -> OnlineTeacher:
        """Load ``[W*][KIND=]PATH[,[W*][KIND=]PATH...]``; see :meth:`NamedSource.from_argument`."""
        weights, teachers = _weighted(argument)
        data = TranslationData(
            training_set.data,
            training_set.source_language,
            training_set.target_language,
            training_set.vocabulary,
        )
        options = replace(
            training_set.loading, device=training_set.device, bf16_autocast=training_set.bf16_autocast
        )
        teacher = load_teachers(teachers, data, options, weights)
        temperatures = training_set.request.tail_temperatures or DumpOptions.tail_temperatures
        return cls(teacher, training_set.vocabulary, temperatures)

    @property
    def description(self) -> ModelDescription:
        """Soft targets, of as many entries as there are, or the whole distribution."""
        return ModelDescription(
            f"{self.teacher.kind} {self.teacher.name}",
            frozenset({SOFT_TARGETS, PROBABILITIES}),
            vocabulary=self.vocabulary,
            topk=self.vocabulary,
            tail_temperatures=self.tail_temperatures,
        )

    @torch.no_grad()
    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return what the teachers say of a batch; see :meth:`SignalSource.signal`.

        Args:
            batch: its target ``(B, T)`` and, of its inputs, ``src_tokens`` ``(B, S)``, padded on either side.
            request: ``topk`` entries per token, by default as many as a store has by default; or the whole
                distribution.
            dropout: of no meaning here.

        Raises:
            UserError: a teacher gives what is no finite number.
            ValueError: the batch has no target.
        """
        if batch.target is None:
            raise ValueError("online teacher: soft targets need the batch's target")
        if request.reads_inside:
            return self._with_inside(batch, batch.target.ne(batch.padding_idx), request)
        k = min(request.topk or DumpOptions.topk, self.vocabulary)
        tokens = batch.target.ne(batch.padding_idx)  # (B, T)
        sources = _sentences(batch.inputs["src_tokens"], batch.padding_idx)
        targets = _sentences(batch.target, batch.padding_idx)
        readable = self.teacher.readable(Pairs(sources, targets))  # (B,)
        read = np.flatnonzero(readable).tolist()
        valid = tokens & torch.from_numpy(readable).to(tokens.device)[:, None]  # (B, T)
        pairs = Pairs([sources[row] for row in read], [targets[row] for row in read])
        rows = batch.rows.tolist()
        if request.whole_distribution:
            output = self._whole_distribution(valid, pairs, [rows[row] for row in read])

            def again(target: Tensor) -> TeacherSignal:
                return self.signal(replace(batch, target=target), request)

            return TeacherSignal((output,), again=again if request.other_histories else None)
        if not read:
            return TeacherSignal(soft_targets=_empty(valid, k, self.tail_temperatures))
        said = self.teacher.next_tokens(pairs)
        return TeacherSignal(
            soft_targets=self._soft_targets(said, valid, k, pairs, [rows[row] for row in read])
        )

    def _whole_distribution(self, valid: Tensor, pairs: Pairs, rows: list[int]) -> ModelOutput:
        """Return what the teachers say of the tokens ``valid (B, T)``, row after row."""
        positions = valid.flatten().nonzero().squeeze(1)  # (N,)
        if not rows:
            nothing = torch.empty(0, self.vocabulary, device=valid.device)  # (0, V)
            return ModelOutput(logits=nothing, positions=positions)
        said = self.teacher.predictions(pairs)
        if said.logits is not None:
            numbers = said.logits.amax(-1, keepdim=True)  # (N, 1), an entry without mass has -inf
        else:
            numbers = said.projection()[0].sum(
                -1, keepdim=True
            )  # (N, 1), no number where one of them is none
        half_of(numbers, self.teacher, pairs, rows)  # refuses what a dump refuses
        # Teachers run in inference mode, whose tensors autograd refuses to keep.
        logits, features = (
            None if given is None else given.clone().to(valid.device)
            for given in (said.logits, said.features)
        )
        return replace(said, logits=logits, features=features, positions=positions)

    def _with_inside(self, batch: TeacherBatch, real: Tensor, request: Request) -> TeacherSignal:
        """Return what is read of the teacher's inside and, of the same forward pass, its soft targets."""
        output, said = self.teacher.look_inside(batch.inputs, real, request)
        if said is None:
            return TeacherSignal(outputs=(output,))
        sources = _sentences(batch.inputs["src_tokens"], batch.padding_idx)
        pairs = Pairs(sources, _sentences(real.long(), 0))  # the lengths count, for messages
        k = min(request.topk or DumpOptions.topk, self.vocabulary)
        return TeacherSignal(
            (output,), soft_targets=self._soft_targets(said, real, k, pairs, batch.rows.tolist())
        )

    def _soft_targets(
        self, said: NextTokens, valid: Tensor, k: int, pairs: Pairs, rows: list[int]
    ) -> SoftTargets:
        """Return the k best entries of the tokens ``valid (B, T)``, as a store would have them."""
        result = _empty(valid, k, self.tail_temperatures)
        with torch.inference_mode():  # as teachers run; what they say is written over
            ids, logits, tail = summarise_next_tokens(said, k, self.tail_temperatures)
        half_of(logits, self.teacher, pairs, rows)  # refuses what a dump refuses
        # Masks count row by row, as the teacher's positions do.
        result.ids[valid] = ids.to(valid.device)
        result.logits[valid] = logits.clamp(min=LOWEST_LOGIT).to(valid.device)  # as in a store
        result.tail[valid] = tail.to(valid.device)
        return result


def _weighted(argument: str) -> tuple[list[float] | None, list[str]]:
    """Return weights, None where none are given, and the teachers."""
    parts = argument.split(",")
    if not all(parts):
        raise UserError(
            f"--online-teacher {argument!r} has an empty name; give a model, or several separated by commas"
        )
    split = [part.rpartition(WEIGHT) for part in parts]
    teachers = [path for _, _, path in split]
    given = [weight for weight, mark, _ in split if mark]
    try:
        weights = [float(weight) for weight in given]
    except ValueError:
        raise UserError(
            f"--online-teacher {argument!r}: what stands before {WEIGHT} is no number; give 0.7{WEIGHT}MODEL"
        ) from None
    if given and (len(given) != len(parts) or not all(map(POSITIVE.contains, weights))):
        raise UserError(
            f"--online-teacher {argument!r} has weights {', '.join(given)} for {len(parts)} models; give "
            f"each of them one above 0, as in 0.7{WEIGHT}MODEL, or none"
        )
    return (weights or None), teachers


def _sentences(padded: Tensor, padding_idx: int) -> list[NDArray[np.integer[Any]]]:
    """Return the entries of each row without padding."""
    rows = padded.cpu().numpy()
    return [row[row != padding_idx] for row in rows]


def _empty(valid: Tensor, k: int, temperatures: tuple[float, ...]) -> SoftTargets:
    """Return soft targets in which nothing has been said, ``(B, T, ...)``."""
    return SoftTargets(
        torch.zeros((*valid.shape, k), dtype=torch.int64, device=valid.device),
        torch.zeros((*valid.shape, k), device=valid.device),
        torch.zeros((*valid.shape, len(temperatures)), device=valid.device),
        valid,
        temperatures,
    )
