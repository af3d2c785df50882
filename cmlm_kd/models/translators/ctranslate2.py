"""The kind ``ctranslate2`` of ``cmlm-kd translate``, and ``--via ctranslate2``: decoding by CTranslate2."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch

from cmlm_kd.api.translator import (
    Decoding,
    Hypothesis,
    ModelChoice,
    Source,
    TokenText,
    Translator,
    translators,
)
from cmlm_kd.errors import UserError, first_line, os_error_of
from cmlm_kd.models.exported import PIECES, export_record
from cmlm_kd.models.translators.spelled_tokens import PieceText, TransformersText
from cmlm_kd.system.files import file_sha256
from cmlm_kd.tokenization.pieces import PieceTokenizer

_TOKENIZER_FILES = ("tokenizer*.json", "*.spm", "*.model", "vocab.txt")

SHORTLIST = "vmap.txt"
"""What CTranslate2 names the file in a directory that has a shortlist."""

Scored = tuple[list[str], float]
"""A hypothesis as CTranslate2 has it, its end included, and its score."""

_SURE = -1e-6
"""Log-probability of what is as good as certain; the probability of all else is still a number."""

QUANTIZATIONS = ("float32", "int8", "int8_float32", "int8_float16", "int16", "float16", "bfloat16")
"""What ``--quantize`` can be."""


@translators.register("ctranslate2")
class CTranslate2Translator(Translator):
    """An encoder-decoder in CTranslate2's own format.

    A directory that has a shortlist is searched with it. It is one for all sources of a batch, so that what
    stands beside a source may then change its translation.

    Args:
        directory: of the model.
        words: how text becomes tokens.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        compute_type: as CTranslate2 names it.
        identity: description, hash and languages.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"data", "source_language", "target_language", "quantize"})

    def __init__(
        self,
        directory: Path,
        words: TokenText,
        device: str,
        compute_type: str,
        identity: tuple[str, str, tuple[str | None, str | None]],
    ) -> None:
        self._place = (directory, device, compute_type)
        self._has_shortlist = (directory / SHORTLIST).is_file()
        self.batch_tokens = 512 if device.startswith("cpu") else 4096
        self.engine = self._start()
        self.words = words
        self._description, self._hash, self._languages = identity
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # which disappears with this object

    def _start(self) -> Any:
        directory, device, compute_type = self._place
        kind, _, index = device.partition(":")
        try:
            return import_ctranslate2().Translator(
                str(directory),
                device=kind,
                device_index=int(index or 0),
                compute_type=compute_type,
                inter_threads=1,
                intra_threads=torch.get_num_threads(),
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"CTranslate2 cannot load {directory}: {first_line(error)}; give a directory that one of its "
                "converters wrote, and a --quantize that this device has"
            ) from error

    @classmethod
    def load(cls, choice: ModelChoice) -> CTranslate2Translator:
        """Load a directory that a converter wrote; its tokenizer lies there, or in ``--data``."""
        directory = Path(choice.path).expanduser()
        if not directory.is_dir():
            raise UserError(f"--model {choice.path} is no directory; give what a converter wrote")
        record = export_record(directory)
        words = _words_of(directory, choice)
        if record is not None:
            choice = record.with_languages(choice)
            # The engine adds the end of a source itself.
            words.most_source_tokens = record.most_source_tokens - 1 if record.most_source_tokens else None
            words.most_target_tokens = record.most_target_tokens - 1 if record.most_target_tokens else None
        files = [f"{path.name} {file_sha256(path)}" for path in sorted(directory.iterdir()) if path.is_file()]
        languages = (choice.source_language, choice.target_language)
        text = " ".join([*files, str(choice.quantize), *map(str, languages), *_text_hash(words)])
        identity = ("CTranslate2", hashlib.sha256(text.encode()).hexdigest(), languages)
        return cls(
            directory, words, choice.device, check_quantization(choice.quantize) or "default", identity
        )

    @classmethod
    def converted(cls, base: Translator, device: str, quantization: str | None) -> CTranslate2Translator:
        """Return a translator that was converted in a temporary folder.

        Raises:
            UserError: CTranslate2 is missing, or cannot convert the model.
        """
        import_ctranslate2()
        kind = check_quantization(quantization) or "float32"
        description = f"{base.description}, converted for CTranslate2, {kind}"
        identity = (description, hashlib.sha256(f"{base.hash} {kind}".encode()).hexdigest(), base.languages)
        folder = tempfile.TemporaryDirectory(prefix="cmlm-kd-ctranslate2-")
        directory = Path(folder.name, "model")
        translator = cls(directory, base.to_ctranslate2(directory, kind), device, kind, identity)
        translator._folder = folder
        return translator

    @property
    def description(self) -> str:
        """What it was converted from."""
        return f"{self._description} {version('ctranslate2')}"

    @property
    def hash(self) -> str:
        """Of the files and their tokenizer, or of the model that was converted."""
        return self._hash

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """As the model or the user said them."""
        return self._languages

    @property
    def most_source_tokens(self) -> int | None:
        """As of the model that was converted; None where the directory does not say."""
        return self.words.most_source_tokens

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return tokens as they are spelled."""
        return self.words.encode(texts)

    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Search, or draw, with CTranslate2."""
        decoding.refuse_temperature_of_search("CTranslate2")
        most = decoding.most_tokens(max(len(source.tokens) for source in sources))
        most = min(most, self.words.most_target_tokens or most)
        found = [_scored(result) for result in self._decode(sources, decoding, most)]
        if self.words.never_empty and not decoding.sampling:
            self._say_something(found, sources, decoding, most)
        if self.words.target_prefix:
            found = [self._without_prefix(row, decoding) for row in found]
        return [
            [self._hypothesis(tokens, score, most) for tokens, score in row[: decoding.n_best]]
            for row in found
        ]

    def _decode(
        self, sources: Sequence[Source], decoding: Decoding, most: int, least: int = 0
    ) -> Sequence[Any]:
        """Return the results of CTranslate2 with all hypotheses that were followed.

        Args:
            sources: of a batch.
            decoding: how.
            most: tokens of a hypothesis.
            least: likewise; 1 leaves the end of sentence out of the first token's probabilities.
        """
        prefix = list(self.words.target_prefix)
        engine = self.engine
        if decoding.sampling:
            # A thread of CTranslate2 takes the seed when it draws for the first time, and never again.
            import_ctranslate2().set_random_seed(decoding.seed)
            engine = self._start()
        try:
            return engine.translate_batch(  # type: ignore[no-any-return]
                [list(source.tokens) for source in sources],
                target_prefix=[prefix] * len(sources) if prefix else None,
                num_hypotheses=decoding.width,
                # Where fairseq gives up: a search that goes one token further ends with another hypothesis.
                max_decoding_length=most + len(prefix),
                min_decoding_length=least,
                max_input_length=0,
                length_penalty=decoding.length_penalty,
                return_scores=True,
                return_end_token=True,
                use_vmap=self._has_shortlist,
                **_search(decoding),
            )
        except ValueError as error:
            if decoding.top_k is None or "sampling_topk" not in str(error):
                raise
            return self._decode(sources, replace(decoding, top_k=None), most, least)  # all that there are

    def _say_something(
        self, found: list[list[Scored]], sources: Sequence[Source], decoding: Decoding, most: int
    ) -> None:
        """Search again, in place, where a hypothesis is empty: fairseq's search follows another one instead.

        That search knows no end of sentence as the first token. Its probability, which the empty hypothesis
        tells, goes back into the scores.
        """
        ends: dict[int, float] = {}  # row -> log-probability of an end at once
        for row, hypotheses in enumerate(found):
            for tokens, score in hypotheses:
                if tokens == [self.words.end]:
                    ends[row] = score
        if not ends:
            return
        again = self._decode([sources[row] for row in ends], decoding, most, least=1)
        for (row, end), result in zip(ends.items(), again, strict=True):
            lost = math.log(-math.expm1(min(end, _SURE)))
            shifted = [
                (tokens, score + lost / len(tokens) ** decoding.length_penalty)
                for tokens, score in _scored(result)
            ]
            found[row] = sorted(shifted, key=lambda one: -one[1])

    def _without_prefix(self, hypotheses: list[Scored], decoding: Decoding) -> list[Scored]:
        """Return the hypotheses by their scores as they are defined, best first.

        CTranslate2 leaves the probabilities of what was forced out of a score, and divides by its length.
        """
        forced = len(self.words.target_prefix)
        shifted = [
            (tokens, score * (len(tokens) / max(1, len(tokens) - forced)) ** decoding.length_penalty)
            for tokens, score in hypotheses
        ]
        return sorted(shifted, key=lambda one: -one[1])

    def _hypothesis(self, tokens: Sequence[str], score: float, most: int) -> Hypothesis:
        said = list(tokens)[len(self.words.target_prefix) :]
        finished = bool(said) and said[-1] == self.words.end and len(said) <= most
        if said and said[-1] == self.words.end:
            said.pop()
        return Hypothesis(self.words.decode(said[:most]), float(score), finished)


def _scored(result: Any) -> list[Scored]:
    return list(zip(result.hypotheses, result.scores, strict=True))


def _search(decoding: Decoding) -> dict[str, Any]:
    if not decoding.sampling:
        return {"beam_size": decoding.beam}
    return {
        "beam_size": 1,
        "sampling_topk": decoding.top_k or 0,
        "sampling_topp": decoding.top_p or 1.0,
        "sampling_temperature": decoding.temperature,
    }


def import_ctranslate2() -> Any:
    """Return the package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import ctranslate2
    except ImportError:
        raise UserError(
            "CTranslate2 is not installed; run: pip install 'cmlm-kd[ctranslate2]', or leave --via out"
        ) from None
    return ctranslate2


def check_quantization(name: str | None) -> str | None:
    """Return the name of a type of weights, None for none.

    Raises:
        UserError: CTranslate2 has no such type.
    """
    if name is not None and name not in QUANTIZATIONS:
        raise UserError(f"--quantize is {name!r}; allowed are {', '.join(QUANTIZATIONS)}")
    return name


def explained_conversion(convert: Callable[[], object], model: str) -> None:
    """Convert, with what CTranslate2 cannot do said in one line.

    Raises:
        UserError: naming the model and what the converter says.
    """
    try:
        convert()
    except Exception as error:  # converters raise whatever they meet
        if os_error_of(error) is not None:  # a full disk is no fault of theirs
            raise
        raise UserError(
            f"CTranslate2 cannot convert {model}: {first_line(error)}; decode it without CTranslate2"
        ) from error


def _words_of(directory: Path, choice: ModelChoice) -> TokenText:
    """Return the tokenizer of a directory: that of a data-bin, or the one that lies in it."""
    if choice.data is not None:
        teacher = choice.data / "teacher"
        if not teacher.is_dir():
            raise UserError(
                f"--data {choice.data} has no tokenizer (the folder 'teacher'); give a data-bin of 'cmlm-kd "
                "prepare'"
            )
        return PieceText(PieceTokenizer.from_pretrained(str(teacher)))
    if (directory / PIECES).is_dir():
        return PieceText(PieceTokenizer.from_pretrained(str(directory / PIECES)))
    if not any(next(directory.glob(name), None) for name in _TOKENIZER_FILES):
        raise UserError(
            f"--model {directory} has no tokenizer beside its vocabulary; name the data-bin that it was "
            "trained on with --data, or copy the tokenizer's files there"
        )
    return TransformersText.of_directory(directory, choice.source_language, choice.target_language)


def _text_hash(words: TokenText) -> list[str]:
    return [words.hash] if isinstance(words, PieceText | TransformersText) else []
