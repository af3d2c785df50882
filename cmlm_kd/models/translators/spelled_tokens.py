"""Text as tokens that are known by their spelling, which is what CTranslate2 reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmlm_kd.api.translator import Source, TokenText
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.languages import Languages
from cmlm_kd.models.translators.loading import read_tokenizer, source_ids, tokenizer_hash
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import pieces_to_text


class PieceText(TokenText):
    """The teacher's pieces, as fairseq's dictionaries of this project spell them.

    Args:
        tokenizer: of the data-bin.
    """

    never_empty = True

    def __init__(self, tokenizer: PieceTokenizer) -> None:
        self.tokenizer = tokenizer

    @property
    def hash(self) -> str:
        """Of the tokenizer."""
        return serialized_hash(self.tokenizer.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the symbols of each text; the engine adds the end of sentence."""
        found = self.tokenizer.encode_batch(texts)
        return [Source(text, pieces.symbols) for text, pieces in zip(texts, found, strict=True)]

    def decode(self, tokens: Sequence[str]) -> str:
        """Join symbols."""
        return pieces_to_text(tokens)


class TransformersText(TokenText):
    """The tokens of a tokenizer of transformers.

    Args:
        tokenizer: set to the source language.
        source_prefix: text before each source.
        forced_first: the entry that each hypothesis begins with, or None.

    Raises:
        UserError: it has a vocabulary for each language, as some Marians have, so that an entry does not say
            how a source token is spelled.
    """

    def __init__(
        self,
        tokenizer: Any,
        source_prefix: str = "",
        forced_first: int | None = None,
    ) -> None:
        if getattr(tokenizer, "separate_vocabs", False):
            raise UserError(
                f"{tokenizer.name_or_path} has a vocabulary for each language, of which CTranslate2's "
                "converter sees one; leave --via ctranslate2 out, or give the Hugging Face directory itself"
            )
        self.tokenizer = tokenizer
        self.source_prefix = source_prefix
        self.end = str(tokenizer.eos_token)
        if forced_first is not None:
            self.target_prefix = [tokenizer.convert_ids_to_tokens(forced_first)]

    @classmethod
    def of_directory(
        cls, directory: Path, source_language: str | None, target_language: str | None
    ) -> TransformersText:
        """Return the tokenizer that lies in a directory, set to a pair of languages."""
        tokenizer = read_tokenizer(str(directory))
        languages = Languages(str(directory), tokenizer, (), source_language, target_language)
        return cls(tokenizer, languages.source_prefix(), languages.forced_first())

    @property
    def hash(self) -> str:
        """Of the tokenizer."""
        return tokenizer_hash(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the tokens of each text, codes and end of sentence included."""
        found = source_ids(self.tokenizer, self.source_prefix, texts)
        spelled = map(self.tokenizer.convert_ids_to_tokens, found)
        return [Source(text, tokens) for text, tokens in zip(texts, spelled, strict=True)]

    def decode(self, tokens: Sequence[str]) -> str:
        """Join tokens."""
        ids = self.tokenizer.convert_tokens_to_ids(list(tokens))
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))
