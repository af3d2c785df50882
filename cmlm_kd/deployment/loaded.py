"""Models in Python: :func:`load` takes what the commands take, and gives one object with one method.

::

    import cmlm_kd

    cmlm_kd.load("student-ct2").translate(["Zwei Männer hören Musik."])
    cmlm_kd.load("sst2-onnx").classify(["a charming film"])
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cmlm_kd.api.translator import Decoding, ModelChoice, Translator
from cmlm_kd.data.classification.texts import TextPlace
from cmlm_kd.data.translating.engine import is_too_long, says_nothing, translate_texts
from cmlm_kd.errors import UserError
from cmlm_kd.models.exported import export_record
from cmlm_kd.models.prediction import Classifier
from cmlm_kd.models.text_classification import ClassifiedTexts, classify_texts
from cmlm_kd.models.translators.kinds import load_translator
from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range
from cmlm_kd.system.text import why_not_utf8

LongTexts = Literal["refuse", "split"]
"""What becomes of a text that is longer than the model reads."""

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’»)\]]*\s+")
"""Where a text is parted into sentences: behind a mark that ends one, and white space."""


@dataclass(frozen=True)
class Translation:
    """One translation.

    Attributes:
        text: detokenised; empty for an empty source.
        score: log-probability per token (natural logarithm) to the power of the length penalty, as
            :class:`~cmlm_kd.api.translator.Hypothesis` defines it; of a text that was split the mean of its
            sentences; 0 for an empty source.
        finished: whether the model ended it by itself.
    """

    text: str
    score: float
    finished: bool


@dataclass(frozen=True)
class Classification:
    """How one text was classified.

    Attributes:
        label: name of its class; None for a model that gives scores.
        probabilities: class -> probability, in the order of the model's logits; empty for scores.
        score: of a model that gives scores; None for one with classes.
    """

    label: str | None
    probabilities: dict[str, float]
    score: float | None


class Loaded:
    """A loaded model. Threads may share it: their calls are answered one after the other.

    Attributes:
        description: what it is, in a few words.
        name: of the file or directory, without folders; empty for one that was not loaded of a path.
    """

    task: str
    name: str = ""

    def __init__(self, description: str) -> None:
        self.description = description
        self._lock = threading.Lock()

    def translate(
        self,
        texts: Sequence[str],
        decoding: Decoding | None = None,
        *,
        long_texts: LongTexts = "refuse",
        max_tokens: int | None = None,
    ) -> list[str]:
        """Return the translation of each text.

        Args:
            texts: one or more sentences each; one that is empty, or has nothing that can be seen, has an
                empty translation.
            decoding: how; None: beam search with five hypotheses.
            long_texts: a text that is longer than the model reads is refused, or split into sentences that
                are translated one by one. Nothing is ever cut off.
            max_tokens: source tokens a batch, at least 1; None for what suits the model.

        Raises:
            UserError: the model does not translate, a text is too long or no UTF-8, or a setting is out of
                range.
        """
        found = self.translate_with_scores(texts, decoding, long_texts=long_texts, max_tokens=max_tokens)
        return [one.text for one in found]

    def translate_with_scores(
        self,
        texts: Sequence[str],
        decoding: Decoding | None = None,
        *,
        long_texts: LongTexts = "refuse",
        max_tokens: int | None = None,
        place: TextPlace | None = None,
    ) -> list[Translation]:
        """Return what :meth:`translate` does, with scores; ``place`` says where the texts are from."""
        raise UserError(f"{self.description} does not translate: it is a model for {self.task}")

    def classify(
        self,
        texts: Sequence[str],
        second: Sequence[str] | None = None,
        *,
        truncate: bool = False,
        batch_size: int = 32,
        place: TextPlace | None = None,
    ) -> list[Classification]:
        """Classify texts, or pairs of texts.

        Args:
            texts: the texts, or the first ones of pairs.
            second: the second ones of pairs.
            truncate: cut texts that are too long, instead of refusing them.
            batch_size: texts at once, at least 1.
            place: where the texts are from, for messages.

        Raises:
            UserError: the model does not classify, or a text is empty, too long or no UTF-8.
        """
        raise UserError(f"{self.description} does not classify: it is a model for {self.task}")


class LoadedTranslator(Loaded):
    """A translator.

    Args:
        translator: ready to translate.
    """

    task = "translation"

    def __init__(self, translator: Translator) -> None:
        super().__init__(translator.description)
        self.translator = translator

    def translate_with_scores(
        self,
        texts: Sequence[str],
        decoding: Decoding | None = None,
        *,
        long_texts: LongTexts = "refuse",
        max_tokens: int | None = None,
        place: TextPlace | None = None,
    ) -> list[Translation]:
        """Return the translation of each text with its score; see :meth:`Loaded.translate`."""
        where = place or TextPlace()
        if isinstance(texts, str):
            raise UserError("translate: the texts are one string; give a list of strings")
        if long_texts not in get_args(LongTexts):
            raise UserError(f"translate: long_texts is {long_texts!r}; it must be refuse or split")
        if max_tokens is not None:
            check_range("--max-tokens", max_tokens, AT_LEAST_ONE)
        texts = list(texts)  # an iterator has them once
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"translate: {where.text(row)} is {type(text).__name__}; give strings")
            if reason := why_not_utf8(text):
                raise UserError(f"{where.text(row)}: {reason}")
        lines = [" ".join(text.split()) for text in texts]
        with self._lock:
            parts = self._parts(lines, long_texts, where)
            found = translate_texts(
                self.translator,
                [part for row in parts for part in row],
                decoding or Decoding(),
                max_tokens=max_tokens or self.translator.batch_tokens,
            )
        hypotheses = iter(found)
        return [_joined([next(hypotheses)[0] for _ in row]) for row in parts]

    def _parts(self, lines: Sequence[str], long_texts: LongTexts, where: TextPlace) -> list[list[str]]:
        """Return what is translated of each text: itself, its sentences, or nothing."""
        parts: list[list[str]] = []
        for row, (line, source) in enumerate(zip(lines, self.translator.encode(lines), strict=True)):
            if says_nothing(source):
                parts.append([])
            elif is_too_long(self.translator, source):
                parts.append(self._sentences(line, long_texts, where.text(row)))
            else:
                parts.append([line])
        return parts

    def _sentences(self, line: str, long_texts: LongTexts, subject: str) -> list[str]:
        most = self.translator.most_source_tokens
        if long_texts == "refuse":
            raise UserError(
                f"{subject} is longer than the {most} tokens that the model reads; split it, or ask for it "
                "to be split into its sentences (--long-lines split)"
            )
        sources = self.translator.encode(_SENTENCE_END.split(line))
        for number, source in enumerate(sources, 1):
            if is_too_long(self.translator, source):
                raise UserError(
                    f"{subject} has a sentence, number {number}, that is longer than the {most} tokens that "
                    "the model reads; split it"
                )
        return [source.text for source in sources if not says_nothing(source)]


class LoadedClassifier(Loaded):
    """A classifier.

    Args:
        model: on its device, in evaluation mode.
        description: what it is.
        device: where it computes.

    Attributes:
        labels: names of its classes in the order of its logits; empty for scores.
    """

    task = "classification"

    def __init__(self, model: Classifier, description: str, device: str = "cpu") -> None:
        super().__init__(description)
        self.model = model
        self.labels = model.labels
        self.device = device

    def classify(
        self,
        texts: Sequence[str],
        second: Sequence[str] | None = None,
        *,
        truncate: bool = False,
        batch_size: int = 32,
        place: TextPlace | None = None,
    ) -> list[Classification]:
        """Classify texts, or pairs of texts; see :meth:`Loaded.classify`."""
        with self._lock:
            found = classify_texts(
                self.model,
                texts,
                second,
                batch_size=batch_size,
                truncate=truncate,
                device=self.device,
                place=place,
            )
        return _classifications(found, self.labels)


def load(path: str | Path, *, device: str = "cpu", task: str | None = None) -> Loaded:
    """Load a model that translates or classifies.

    Args:
        path: what 'cmlm-kd export' wrote, a fairseq checkpoint, or any model that 'cmlm-kd translate' or
            'cmlm-kd classify' takes.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        task: ``translation`` or ``classification``; None where the model says it.

    Raises:
        UserError: there is no model, it cannot be loaded, or was changed since it was exported.
    """
    loaded = _load(path, device, task)
    loaded.name = Path(path).name
    return loaded


def _load(path: str | Path, device: str, task: str | None) -> Loaded:
    place = Path(path).expanduser()
    kind = task or _task_of(place)
    if kind == "translation":
        return LoadedTranslator(load_translator(str(path), ModelChoice((), device=device)))
    if kind != "classification":
        raise UserError(f"load: task is {kind!r}; it must be translation or classification")
    from cmlm_kd.models.loading import load_student
    from cmlm_kd.system.devices import check_device

    check_device(device)
    model = load_student(place)
    move = getattr(model, "to", None)
    return LoadedClassifier(move(device) if move else model, f"classifier {place.name}", device)


def _task_of(place: Path) -> str:
    """Return what a model does, from what it says of itself."""
    if not place.exists():
        if place.is_absolute() or str(place).startswith((".", "~")) or len(place.parts) > 2:
            raise UserError(f"{place} does not exist; give a directory of 'cmlm-kd export', or a checkpoint")
        return "translation"  # a name of the hub
    if place.is_file():
        from cmlm_kd.deployment.student import is_translator
        from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

        if place.suffix != ".pt":
            return "translation"
        return "translation" if is_translator(read_checkpoint(place)) else "classification"
    record = export_record(place)
    if record is not None:
        return record.task
    return "classification" if _classifies(place) else "translation"


def _classifies(directory: Path) -> bool:
    import json

    from cmlm_kd.models.bilstm.directory import is_bilstm

    if is_bilstm(directory):
        return True
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    named = " ".join(map(str, config.get("architectures") or []))
    return "SequenceClassification" in named or "fastbert" in config


def _joined(found: Sequence[tuple[str, float, bool]]) -> Translation:
    """Return the translation of a text from those of its parts."""
    if not found:
        return Translation("", 0.0, True)
    texts, scores, finished = zip(*found, strict=True)
    return Translation(" ".join(filter(None, texts)), sum(scores) / len(scores), all(finished))


def _classifications(found: ClassifiedTexts, labels: Sequence[str]) -> list[Classification]:
    if not labels:
        return [Classification(None, {}, float(row[0])) for row in found.values]
    return [
        Classification(label, dict(zip(labels, map(float, row), strict=True)), None)
        for label, row in zip(found.labels, found.values, strict=True)
    ]
