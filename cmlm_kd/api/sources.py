"""Sources of a teacher's signal: one interface to models that run beside the student and to what is on disk.

A teacher of a new kind is one file with one class that extends :class:`SignalSource`. Extending
:class:`NamedSource` and registering it in :data:`signal_sources` makes it a choice on the command line::

    @signal_sources.register("uniform")
    class Uniform(NamedSource): ...

    fairseq-train ... --task translation_kd --soft-targets uniform=8

Whoever uses it imports that file: a user directory (``--user-dir``) does, or a package names it in the
entry-point group ``cmlm_kd.sources``. A criterion gets :class:`~cmlm_kd.api.signals.TeacherSignal` and cannot
tell one source from another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.api.next_tokens import TeacherOptions
from cmlm_kd.api.registry import Registry
from cmlm_kd.api.signals import TeacherSignal


@dataclass(frozen=True)
class TeacherBatch:
    """A batch as a teacher gets to see it.

    Attributes:
        rows: ``(B,)`` int64, the examples' places in the training set.
        inputs: what the student reads, under the names of its arguments, on the device of the training.
        target: ``(B, T)`` entries of the target dictionary, padded on either side; None outside translation.
        padding_idx: the entry of ``target`` that stands for padding.
        other_inputs: position of a teacher that has a tokenizer of its own -> ``inputs`` in its ids.
        place: row of the batch -> the place that it comes from, for messages.
    """

    rows: Tensor
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    target: Tensor | None = None
    padding_idx: int = -1
    other_inputs: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    place: Callable[[int], str] | None = None


class SignalSource(ABC):
    """One or more teachers, or what they said once.

    Attributes:
        by_row: whether the signal depends on ``TeacherBatch.rows`` and where the batch has padding alone, and
            is looked up quickly, without a model. The data loader's workers then ask for it, ahead of the
            training; such a source can be pickled. Others are asked between the data loader and the student.
    """

    by_row: ClassVar[bool] = False

    @property
    @abstractmethod
    def description(self) -> ModelDescription:
        """What it can give."""

    @property
    def rows(self) -> int | None:
        """Examples of the training set that it is for; None for a source that answers any batch."""
        return None

    @abstractmethod
    def signal(
        self, batch: TeacherBatch, request: Request = NOTHING_ELSE, *, dropout: bool = False
    ) -> TeacherSignal:
        """Return what the teachers say about a batch, without gradients.

        Args:
            batch: the batch.
            request: what to return; what is there anyway may come with it.
            dropout: whether models run in training mode, as some released code does.

        Raises:
            UserError: for a teacher that gives no finite number, or is of other data than the batch.
        """


@dataclass(frozen=True)
class TrainingSet:
    """What a source learns, before it is made, of the data that it will be asked about.

    Attributes:
        data: the directory, such as a data-bin.
        split: name of the training set.
        vocabulary: entries of the target dictionary, V.
        padding_idx: the entry that stands for padding.
        source_language, target_language: suffixes of its files; empty where there are none.
        device: where the training runs, as torch names it.
        bf16_autocast: whether it computes in bfloat16 where that is safe.
        request: what the source will be asked for.
        loading: languages, prompt and examples for a teacher that wants them; all else is the training's.
    """

    data: Path
    split: str
    vocabulary: int
    padding_idx: int
    source_language: str = ""
    target_language: str = ""
    device: str = "cpu"
    bf16_autocast: bool = False
    request: Request = NOTHING_ELSE
    loading: TeacherOptions = field(default_factory=TeacherOptions)


class NamedSource(SignalSource):
    """A source that the command line can name: ``NAME=ARGUMENT``."""

    @classmethod
    @abstractmethod
    def from_argument(cls, argument: str, training_set: TrainingSet) -> NamedSource:
        """Return the source that ``NAME=ARGUMENT`` stands for.

        Args:
            argument: what stands behind the equals sign, such as a directory; perhaps empty.
            training_set: the data that it will be asked about.

        Raises:
            UserError: for an argument that means nothing, or does not go with the data.
        """


signal_sources: Registry[NamedSource] = Registry("signal source", NamedSource)  # type: ignore[type-abstract]


def named_source(text: str, training_set: TrainingSet) -> NamedSource | None:
    """Return the registered source that ``NAME=ARGUMENT`` names; None for any other text, such as a path.

    Raises:
        UserError: from the source itself.
    """
    name, equals, argument = text.partition("=")
    if not equals or not (name in signal_sources or name in signal_sources.broken):
        return None
    return signal_sources.get(name).cls.from_argument(argument, training_set)
