"""Translators: whatever turns sentences into hypotheses, by one interface, for the command ``translate``.

A model of a new kind is one file with one class that extends :class:`Translator` and is registered::

    @translators.register("upper")
    class Upper(Translator): ...

    cmlm-kd translate --model upper=ANYTHING --input x.de --output y.en

A package names that file in the entry-point group ``cmlm_kd.translators``, so that it is imported when the
kind is asked for, and not before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from cmlm_kd.api.registry import Registry
from cmlm_kd.errors import UserError
from cmlm_kd.system.ranges import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, Range, between, check_range

_TOP_P = Range("above 0 and at most 1", lambda value: 0.0 < value <= 1.0)


class Hypothesis(NamedTuple):
    """One translation.

    Attributes:
        text: detokenised, on one line; empty for a model that says nothing.
        score: log-probability (natural logarithm) of its tokens, the end of sentence included, divided by
            their number to the power of ``Decoding.length_penalty``; of a sample by the distribution at its
            temperature, of CTranslate2 by the model's own.
        finished: False where the model was cut off at the greatest length allowed.
    """

    text: str
    score: float
    finished: bool = True


LENGTH_PENALTY = between(0, 100)
"""A length to a higher power is no number that a computer has."""


@dataclass(frozen=True)
class Decoding:
    """How to decode.

    Attributes:
        beam: hypotheses that beam search follows, at least 1; not looked at when sampling.
        n_best: hypotheses to return for each source, at least 1; at most ``beam``, unless sampling.
        sampling: draw from the model's distribution instead of searching.
        top_k: draw among this many of the most probable tokens; None for all.
        top_p: draw among the fewest tokens that have this much probability together; None for all.
        temperature: divides the logits before the softmax, above 0; of the search, too, where fairseq or ONNX
            searches, and refused there by other engines.
        seed: of the drawing, 0 or more.
        length_penalty: exponent of the length in scores, 0 to 100; more favours longer hypotheses.
        max_length: most target tokens, the end of sentence not counted: this many plus
            ``max_length_ratio`` for each source token, end of sentence included.
        max_length_ratio: see there; 0 or more.

    Raises:
        UserError: a value is out of its range, or contradicts another.
    """

    beam: int = 5
    n_best: int = 1
    sampling: bool = False
    top_k: int | None = None
    top_p: float | None = None
    temperature: float = 1.0
    seed: int = 1
    length_penalty: float = 1.0
    max_length: int = 200
    max_length_ratio: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beam", "n_best", "max_length"):
            check_range(f"--{name.replace('_', '-')}", getattr(self, name), AT_LEAST_ONE)
        check_range("--temperature", self.temperature, POSITIVE)
        check_range("--seed", self.seed, NOT_NEGATIVE)
        check_range("--length-penalty", self.length_penalty, LENGTH_PENALTY)
        check_range("--max-length-ratio", self.max_length_ratio, NOT_NEGATIVE)
        if self.top_k is not None:
            check_range("--top-k", self.top_k, AT_LEAST_ONE)
        if self.top_p is not None:
            check_range("--top-p", self.top_p, _TOP_P)
        self._check_together()

    def _check_together(self) -> None:
        drawn = {"--top-k": self.top_k, "--top-p": self.top_p}
        given = [flag for flag, value in drawn.items() if value is not None]
        if len(given) == 2:
            raise UserError("--top-k and --top-p are both given; draw by one of them")
        if given and not self.sampling:
            raise UserError(f"{given[0]} is for sampling; add --sampling")
        if not self.sampling and self.n_best > self.beam:
            raise UserError(
                f"--n-best is {self.n_best} and --beam {self.beam}: a beam has no more hypotheses than that; "
                "give a wider beam, or draw them with --sampling"
            )

    def refuse_temperature_of_search(self, engine: str) -> None:
        """Refuse a temperature of beam search, for an engine whose search would not look at it.

        Args:
            engine: for the message.

        Raises:
            UserError: naming the flag.
        """
        if not self.sampling and self.temperature != 1.0:
            raise UserError(
                f"--temperature is {self.temperature:g}, and {engine} has one for drawing alone; add "
                "--sampling, or leave it out"
            )

    @property
    def width(self) -> int:
        """Hypotheses that are followed at a time for each source."""
        return self.n_best if self.sampling else self.beam

    def most_tokens(self, source_tokens: int) -> int:
        """Return the most target tokens of a source of that many, ends of sentence not counted."""
        return self.max_length + int(self.max_length_ratio * source_tokens)


@dataclass(frozen=True)
class ModelChoice:
    """What a user says of the model that shall translate.

    Attributes:
        paths: of the model, or its hub name; several are an ensemble, for kinds that have ensembles.
        data: data-bin whose dictionaries and tokenizer belong to it; None for the one that it names.
        source_language: language, or code that the model knows it by; None for the one that it was trained
            with.
        target_language: likewise.
        prompt: template of a language model's prompt; None for the kind's own.
        bpe: of a fairseq model whose data-bin has no tokenizer: what its text was cut with.
        tokenizer: likewise, what its text was tokenized with before that.
        examples: prefix of a few pairs of text (``PREFIX.SRC``, ``PREFIX.TGT``) to put into the prompt.
        device: where it runs, as torch names it.
        quantize: type of the weights for CTranslate2; None for float32, or for what a directory holds.
    """

    paths: tuple[str, ...]
    data: Path | None = None
    source_language: str | None = None
    target_language: str | None = None
    prompt: str | None = None
    examples: str | None = None
    bpe: str | None = None
    tokenizer: str | None = None
    device: str = "cpu"
    quantize: str | None = None

    @property
    def path(self) -> str:
        """The only model.

        Raises:
            UserError: if there are several, for a kind that knows no ensembles.
        """
        if len(self.paths) != 1:
            raise UserError(
                f"--model names {len(self.paths)} models ({', '.join(self.paths)}), and only fairseq's make "
                "an ensemble; give one"
            )
        return self.paths[0]


@dataclass(frozen=True)
class Source:
    """A sentence to translate.

    Attributes:
        text: as it was read.
        tokens: what the model reads of it, in a form of its own, one entry a token.
    """

    text: str
    tokens: Sequence[Any]


class TokenText(ABC):
    """How text becomes the tokens of an engine that knows them by their spelling, and how they become text.

    Attributes:
        target_prefix: tokens that each hypothesis begins with, such as a language's code.
        end: the token that ends a hypothesis.
        never_empty: whether a search says a token at least, as fairseq's does.
        most_source_tokens: as of :class:`Translator`.
        most_target_tokens: the longest hypothesis that the model's positions allow, its end not counted.
    """

    target_prefix: Sequence[str] = ()
    end: str = "</s>"
    never_empty: bool = False
    most_source_tokens: int | None = None
    most_target_tokens: int | None = None

    @property
    @abstractmethod
    def hash(self) -> str:
        """Of all that decides what tokens a text becomes."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the tokens of each text, as they are spelled."""

    @abstractmethod
    def decode(self, tokens: Sequence[str]) -> str:
        """Return the text of a hypothesis without its prefix."""


class Translator(ABC):
    """A model, or an ensemble, that translates.

    Attributes:
        settings: names of the fields of :class:`ModelChoice` that mean something to it, besides ``paths`` and
            ``device``; others are refused before it is made.
        batch_tokens: source tokens a batch, padding included, where the user does not say.
    """

    settings: ClassVar[frozenset[str]] = frozenset()
    batch_tokens: int = 4096

    @classmethod
    @abstractmethod
    def load(cls, choice: ModelChoice) -> Translator:
        """Return the translator that a user chose, ready to translate.

        Raises:
            UserError: it cannot be loaded, has no tokenizer, does not know the languages, or holds NaN.
        """

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, in a few words, for the manifest: its kind and architecture."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """Hash of all that its translations depend on besides the decoding: weights and tokenizer."""

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Source and target language, as far as they are known."""
        return None, None

    @property
    def most_source_tokens(self) -> int | None:
        """The longest source that it reads, in tokens as :meth:`encode` counts them; None for any."""
        return None

    def to_ctranslate2(self, directory: Path, quantization: str) -> TokenText:
        """Write the model in the format of CTranslate2, and return how its tokens are spelled.

        Args:
            directory: to write; it does not exist.
            quantization: of the weights, as CTranslate2 names it.

        Raises:
            UserError: CTranslate2 cannot convert it.
        """
        raise UserError(
            f"--via ctranslate2 converts fairseq's models and encoder-decoders of Hugging Face, not "
            f"{self.description}; leave it out"
        )

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return what the model reads of each text; the number of tokens decides who shares a batch."""

    @abstractmethod
    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Translate a batch.

        The result depends on nothing but the arguments: sampling starts from ``decoding.seed``.

        Args:
            sources: as :meth:`encode` returned them, none empty and none too long.
            decoding: how.

        Returns:
            for each source up to ``decoding.n_best`` hypotheses, best first.

        Raises:
            UserError: if the model gives no finite number.
        """


translators: Registry[Translator] = Registry("kind of translator", Translator)  # type: ignore[type-abstract]
