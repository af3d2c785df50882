"""Teachers that predict a target's next token, given its source and all tokens before it.

A teacher of a new kind is one class that extends :class:`NamedTeacher` and is registered::

    @next_token_teachers.register("my_kind")
    class MyTranslator(NamedTeacher): ...

    cmlm-kd dump DATA_BIN --teacher my_kind=PATH ...

A package names the module in the entry-point group ``cmlm_kd.teachers``. Whatever the kind, dumps, ensembles
and ``--online-teacher`` work with what it returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Request
from cmlm_kd.api.registry import Registry


@dataclass(frozen=True)
class TranslationData:
    """What a teacher learns, before it is loaded, of the pairs that it will be asked about.

    Attributes:
        directory: the data-bin, with ``dict.LANG.txt`` of both languages.
        source_language, target_language: suffixes of its files.
        vocabulary: entries of the target dictionary, the four specials included, V.
    """

    directory: Path
    source_language: str
    target_language: str
    vocabulary: int

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    def dictionary(self, language: str) -> Path:
        """Return the dictionary of one language."""
        return self.directory / f"dict.{language}.txt"


@dataclass(frozen=True)
class TeacherOptions:
    """How teachers are loaded.

    Attributes:
        device: where they run, as torch names it.
        bf16_autocast: compute in bfloat16 where that is safe, in float32 elsewhere.
        stride: distance of the masked positions of a C-MLM's pass, at least 1.
        source_language, target_language: codes or names that a model of many languages knows them by; None
            for a model that needs none.
        prompt: template of a language model's prompt; None for the usual one.
        examples: pairs that a language model is shown first, as ``PREFIX:SRC-TGT``; None for none.
    """

    device: str = "cpu"
    bf16_autocast: bool = False
    stride: int = 7
    source_language: str | None = None
    target_language: str | None = None
    prompt: str | None = None
    examples: str | None = None


@dataclass(frozen=True)
class Pairs:
    """A batch of sentence pairs, as the data-bin has them.

    Attributes:
        sources: entries of the source dictionary, ``(S,)`` each, end of sentence included.
        targets: entries of the target dictionary, ``(L,)`` each, end of sentence included.
    """

    sources: Sequence[NDArray[np.integer[Any]]]
    targets: Sequence[NDArray[np.integer[Any]]]

    @property
    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of each source and of each target, ``(B,)``."""
        sides = (self.sources, self.targets)
        sources, targets = (np.array([len(row) for row in side], np.int64) for side in sides)
        return sources, targets


@dataclass(frozen=True)
class NextTokens:
    """What a teacher says of every target token of a batch.

    N is the number of target tokens, pair after pair, end of sentence included.

    Attributes:
        logits: ``(N, V)`` over the student's target dictionary, float32; log-probabilities do as well. Minus
            infinity stands for an entry that gets no mass. Whoever asks may overwrite them.
        outside: ``(N,)`` log of the mass that no entry gets, in the units of ``logits``; None where there is
            none. A teacher with a vocabulary of its own cannot tell of all its mass which entry it means.
    """

    logits: Tensor
    outside: Tensor | None = None

    def log_probabilities(self) -> NextTokens:
        """Return the same with logits that sum, with what is outside, to a mass of 1."""
        total = self.logits.logsumexp(-1)  # (N,)
        if self.outside is None:
            return NextTokens(self.logits - total[:, None])
        total = total.logaddexp(self.outside)
        return NextTokens(self.logits - total[:, None], self.outside - total)


class NextTokenTeacher(ABC):
    """A model, or several, asked under teacher forcing.

    Attributes:
        kind: what a store's manifest calls it, such as ``fairseq translator``.
    """

    kind: str

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it, such as its path."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """Hash of its weights and of whatever else decides what it says, hexadecimal."""

    @abstractmethod
    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs it can read, ``(B,)``: not those that are too long for it, say."""

    @abstractmethod
    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return what it says of every target token of some pairs, each of them readable.

        It runs in evaluation mode, without gradients, and gives the same for a pair whatever stands beside it
        (beyond rounding).
        """

    def predictions(self, pairs: Pairs) -> ModelOutput:
        """Return the same as logits ``(N, V)``, or as features ``(N, d)`` and the weight ``(V, d)`` that
        projects them, without the mass that no entry gets."""
        return ModelOutput(logits=self.next_tokens(pairs).logits)

    @property
    def inside(self) -> ModelDescription | None:
        """What can be read of it besides its predictions; None for a teacher that shows nothing else."""
        return None

    def look_inside(
        self, inputs: Mapping[str, Tensor], real: Tensor, request: Request
    ) -> tuple[ModelOutput, NextTokens | None]:
        """Return what is read of a batch in one forward pass, without gradients.

        Args:
            inputs: what a student reads, under the names of its arguments, in the entries of the dictionaries
                that it shares with the teacher.
            real: ``(B, T)`` bool, target tokens that are not padding.
            request: what is kept; with ``predictions="none"`` nothing is projected to the vocabulary.

        Returns:
            The states and scores, in the positions of ``inputs``, and the next tokens of ``real``, row after
            row, or None.

        Raises:
            ValueError: of a teacher that shows nothing else.
        """
        raise ValueError(f"{self.name}: nothing can be read of its inside")


class NamedTeacher(NextTokenTeacher):
    """A teacher that the command line can name: ``--teacher PATH``, or ``--teacher KIND=PATH``.

    Attributes:
        settings: names of the fields of :class:`TeacherOptions` that mean something to it, of the four that
            are None unless the user gives them; others are refused before it is loaded.
    """

    settings: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a file or directory is of this kind, without loading it whole."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> NamedTeacher:
        """Load a teacher for a data-bin.

        Raises:
            UserError: it is damaged, of other languages, or its vocabulary is not the student's and it has no
                means to do without.
        """


next_token_teachers: Registry[NamedTeacher] = Registry("teacher", NamedTeacher)  # type: ignore[type-abstract]
