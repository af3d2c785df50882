"""Teachers of Hugging Face with a tokenizer of their own: encoder-decoders and decoder-only language models.

What they say of their own tokens is carried into the student's (:mod:`cmlm_kd.teachers.carrying`).
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.api.next_tokens import (
    NamedTeacher,
    NextTokens,
    Pairs,
    TeacherOptions,
    TranslationData,
    next_token_teachers,
)
from cmlm_kd.data.translation.manifest import is_databin
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import read_symbols
from cmlm_kd.models.translators.language_model import PROMPT, Prompt, read_examples
from cmlm_kd.models.translators.loading import (
    UNLIMITED,
    end_tokens,
    last_logits,
    load_language_model,
    load_seq2seq,
    source_ids,
)
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.system.hugging_face import is_language_model, saved_settings
from cmlm_kd.teachers.carrying import Carrier, Masses
from cmlm_kd.tokenization.spelled_bytes import END, bytes_of_dictionary, bytes_of_tokenizer
from cmlm_kd.tokenization.spelling import SPECIALS, pieces_to_text

MOST_LOGITS = 1 << 27
"""Of one forward: half a gigabyte of float32. A vocabulary of 256,000 leaves room for 512 tokens."""

CARRYING = "carrying 2"
"""Part of the hash; changes when the same model would be carried otherwise."""


class CarriedTeacher(NamedTeacher):
    """A model whose tokens are not the student's.

    Args:
        path: what messages call it.
        loaded: the model with its tokenizer.
        data: the data-bin, which ``cmlm-kd prepare`` wrote.
        options: where and how it runs.
        ends: its tokens that end a sentence.
        line_feed_ends: a line feed ends one as well.

    Raises:
        UserError: the data-bin's symbols do not say which text they stand for.
    """

    def __init__(
        self,
        path: Path,
        loaded: Any,
        data: TranslationData,
        options: TeacherOptions,
        ends: Sequence[int],
        *,
        line_feed_ends: bool = False,
    ) -> None:
        if not is_databin(data.directory):
            raise UserError(
                f"teacher {path} has tokens of its own, and only the dictionaries of 'cmlm-kd prepare' say "
                f"which text an entry stands for; prepare {data.directory} with it"
            )
        self.path, self.loaded, self.options, self.ends = path, loaded, options, list(ends)
        self.device = torch.device(options.device)
        self.model = loaded.model.to(self.device)
        self.tokenizer = loaded.tokenizer
        sides = [read_symbols(data.dictionary(language)) for language in data.languages]
        self.symbols = [[*SPECIALS, *symbols] for symbols in sides]  # of source and target
        teacher = bytes_of_tokenizer(self.tokenizer, set(self.ends), line_feed_ends)
        size = int(self.model.get_output_embeddings().weight.size(0))
        teacher = (teacher + [None] * size)[:size]  # rows that pad the output layer stand for nothing
        self.carrier = Carrier(bytes_of_dictionary(sides[1]), teacher)
        self.end = next(token for token, text in enumerate(teacher) if text == END)
        self._known: dict[bytes, tuple[list[int], bool] | None] = {}

    @property
    def name(self) -> str:
        """Its directory or hub name."""
        return str(self.path)

    @property
    def hash(self) -> str:
        """Hash of model, tokenizer and of how it is asked."""
        return hashlib.sha256(f"{self.loaded.hash} {self._asked()} {CARRYING}".encode()).hexdigest()

    def readable(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return which pairs it spells as the student does, and has the positions for."""
        self._known.clear()
        contexts = self._contexts([self._text(0, source) for source in pairs.sources])
        found = []
        for context, source, target in zip(contexts, pairs.sources, pairs.targets, strict=True):
            spelled = self._tokens(target)
            known = spelled is not None and self._has_text(0, source)
            found.append(known and self._fits(len(context), len(spelled[0] if spelled else ())))
        return np.array(found, bool)

    @torch.inference_mode()
    def next_tokens(self, pairs: Pairs) -> NextTokens:
        """Return what it says, carried; see :meth:`NextTokenTeacher.next_tokens`."""
        contexts = self._contexts([self._text(0, source) for source in pairs.sources])
        spelled = [self._tokens(target) or ([], False) for target in pairs.targets]
        rows, outside = [], []
        for number, probs in enumerate(self._all_distributions(contexts, [tokens for tokens, _ in spelled])):
            tokens, unspaced = spelled[number]
            entries = pairs.targets[number].tolist()
            carried, rest = self.carrier.carry(probs, tokens, entries, unspaced=unspaced)
            rows.append(_logarithms(carried))
            outside.append(_logarithms(rest))
        return NextTokens(*(torch.from_numpy(np.concatenate(part)) for part in (rows, outside)))

    def _all_distributions(self, contexts: list[list[int]], tokens: list[list[int]]) -> Iterator[Tensor]:
        """Yield ``(M, U)`` for each pair, as many pairs at a time as memory allows."""
        lengths = [len(context) for context in contexts]
        # What stands before all targets of a batch has no logits.
        longest = max(map(len, tokens)) + max(lengths) - min(lengths) + 1
        size = len(self.carrier.first)
        at_once = max(1, MOST_LOGITS // (longest * size))
        for start in range(0, len(tokens), at_once):
            part = slice(start, start + at_once)
            with bfloat16_autocast(self.options.bf16_autocast, self.device):
                found = self._logits(contexts[part], tokens[part])
            for logits in found:
                yield logits.float().softmax(-1)

    def _text(self, side: int, entries: NDArray[np.integer[Any]]) -> str:
        return pieces_to_text(self.symbols[side][entry] for entry in entries[:-1].tolist())

    def _has_text(self, side: int, entries: NDArray[np.integer[Any]]) -> bool:
        """Return whether none of a sentence's entries is unknown."""
        return bool((entries[:-1] >= len(SPECIALS)).all())

    def _tokens(self, target: NDArray[np.integer[Any]]) -> tuple[list[int], bool] | None:
        """Return the teacher's tokens of a target, end included, and whether they are without the space that
        the student's begins with; None where it spells something else."""
        key = target.tobytes()
        if key not in self._known:
            entries, text = target.tolist(), self._text(1, target)
            # Tokenizers differ in whether they put a space before a text's first word; the student's does.
            spaced = (f" {text}", False)
            ways = (
                [(text, False), spaced]
                if self._space_before_target()
                else [(text, False), (text, True), spaced]
            )
            spelled = (([*self._ids(begun), self.end], unspaced) for begun, unspaced in ways)
            self._known[key] = next(
                (found for found in spelled if self.carrier.agree(found[0], entries, unspaced=found[1])), None
            )
        return self._known[key]

    def _space_before_target(self) -> bool:
        """Return whether what it reads before a target goes on with a space, whatever its tokenizer does."""
        return False

    def _ids(self, text: str) -> list[int]:
        found = self.tokenizer(
            text_target=text, add_special_tokens=False, verbose=False, split_special_tokens=True
        )["input_ids"]
        return [int(token) for token in found]

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return rows ``(B, T)``, padded behind, and their mask."""
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.full((len(rows), longest), self.end if pad is None else int(pad))
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        return ids.to(self.device), mask.to(self.device)

    @abstractmethod
    def _asked(self) -> str:
        """Return all else that decides what it says."""

    @abstractmethod
    def _contexts(self, sources: Sequence[str]) -> list[list[int]]:
        """Return the tokens of what it reads before the target."""

    @abstractmethod
    def _fits(self, context: int, target: int) -> bool:
        """Return whether it has positions for so many tokens."""

    @abstractmethod
    def _logits(self, contexts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return the logits before each token of each target, ``(M, U)`` each."""


@next_token_teachers.register("encoder_decoder")
class EncoderDecoderTeacher(CarriedTeacher):
    """Marian, M2M100, NLLB, mBART, T5 and their like."""

    kind = "Hugging Face encoder-decoder"
    settings: ClassVar[frozenset[str]] = frozenset({"source_language", "target_language"})

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a directory's ``config.json`` says that it has an encoder and a decoder."""
        return bool(saved_settings(path / "config.json").get("is_encoder_decoder"))

    @classmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> EncoderDecoderTeacher:
        """Load a directory or a model of the hub; see :meth:`NamedTeacher.load`."""
        loaded = load_seq2seq(str(path), options.source_language, options.target_language)
        given = (options.source_language, options.target_language)
        said = (loaded.source_language, loaded.target_language)
        if given == (None, None) and None not in said and said != data.languages:
            raise UserError(
                f"teacher {path} translates {said[0]} to {said[1]}, {data.directory} has "
                f"{data.source_language} to {data.target_language}; give a teacher of these, or say "
                "with --source-language and --target-language what it calls them"
            )
        return cls(path, loaded, data, options, end_tokens(loaded.model, loaded.tokenizer))

    def _asked(self) -> str:
        return f"{self.loaded.source_prefix} {self.loaded.decoder_start} {self.loaded.forced_first}"

    def _contexts(self, sources: Sequence[str]) -> list[list[int]]:
        return source_ids(self.tokenizer, self.loaded.source_prefix, sources)

    def _fits(self, context: int, target: int) -> bool:
        learnt = getattr(self.model.config, "max_position_embeddings", None) or UNLIMITED  # T5's are relative
        longest = min(learnt, int(self.tokenizer.model_max_length))
        return max(context, target + 1) <= longest

    def _logits(self, contexts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        forced = [] if self.loaded.forced_first is None else [self.loaded.forced_first]
        before = [self.loaded.decoder_start, *forced]
        ids, mask = self._padded(contexts)
        history, _ = self._padded([[*before, *target[:-1]] for target in tokens])
        output = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=history, use_cache=False)
        begin = len(before) - 1
        return [row[begin : begin + len(target)] for row, target in zip(output.logits, tokens, strict=True)]


@next_token_teachers.register("language_model")
class LanguageModelTeacher(CarriedTeacher):
    """A decoder without an encoder: it reads a prompt with the source; a line feed ends what it says."""

    kind = "language model"
    settings: ClassVar[frozenset[str]] = frozenset(
        {"source_language", "target_language", "prompt", "examples"}
    )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a directory's ``config.json`` says that it is one, or it is a ``.gguf`` file."""
        return path.suffix == ".gguf" or is_language_model(path)

    @classmethod
    def load(cls, path: Path, data: TranslationData, options: TeacherOptions) -> LanguageModelTeacher:
        """Load a directory, a ``.gguf`` file or a model of the hub; see :meth:`NamedTeacher.load`."""
        names = (
            options.source_language or data.source_language,
            options.target_language or data.target_language,
        )
        prompt = Prompt(options.prompt or PROMPT, read_examples(options.examples), names)
        loaded = load_language_model(str(path))
        ends = end_tokens(loaded.model, loaded.tokenizer)
        teacher = cls(path, loaded, data, options, ends, line_feed_ends=True)
        teacher.prompt = prompt
        return teacher

    prompt: Prompt

    def _asked(self) -> str:
        return self.prompt("")

    def _space_before_target(self) -> bool:
        return not self.prompt.ends_with_line

    def _contexts(self, sources: Sequence[str]) -> list[list[int]]:
        found = self.tokenizer([self.prompt(source) for source in sources], verbose=False)["input_ids"]
        closed = self.tokenizer.eos_token_id  # which some tokenizers add
        return [list(ids[:-1] if len(ids) > 1 and ids[-1] == closed else ids) for ids in found]

    def _fits(self, context: int, target: int) -> bool:
        return context + target <= (getattr(self.model.config, "max_position_embeddings", None) or UNLIMITED)

    def _logits(self, contexts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        rows = [[*context, *target[:-1]] for context, target in zip(contexts, tokens, strict=True)]
        ids, mask = self._padded(rows)
        first = min(map(len, contexts)) - 1  # the position that says the first token of the earliest target
        logits = last_logits(self.model, ids.size(1) - first, input_ids=ids, attention_mask=mask)  # (B, T, U)
        begins = [len(context) - 1 - first for context in contexts]
        return [
            row[begin : begin + len(target)]
            for row, begin, target in zip(logits, begins, tokens, strict=True)
        ]


def _logarithms(masses: Masses) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(masses).astype(np.float32)
