"""Tokens of any tokenizer as the bytes of text that they stand for, so that two vocabularies can be compared.

A space before a word belongs to the word's first token, as the ▁ of the student's symbols says.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import spelled_vocabulary, tokenizer_kind
from cmlm_kd.tokenization.spelling import (
    LITERAL_MARK,
    PADDING,
    SPECIALS,
    UNKNOWN,
    WORD_START,
    spell_sentencepiece,
)

END = b"\xff</s>"
"""Stands for the end of a sentence; no text has such bytes."""

_LINE_FEEDS = ("\n", "Ċ", "<0x0A>")
"""A line feed as it is, in byte-level BPE, and as sentencepiece's byte."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def bytes_of_symbol(symbol: str) -> bytes:
    """Return the text that a symbol of the student's convention stands for, ▁ as a space."""
    joined = bytearray()
    for i, part in enumerate(_BYTE.split(symbol)):  # text and, at odd places, the two digits of a byte
        if i % 2:
            joined.append(int(part, 16))
        else:
            joined += part.replace(WORD_START, " ").replace(LITERAL_MARK, WORD_START).encode()
    return bytes(joined)


def bytes_of_dictionary(symbols: list[str]) -> list[bytes | None]:
    """Return the text of each entry of a student's dictionary.

    Args:
        symbols: without the four specials.

    Returns:
        one for each entry, specials included: None for an entry that is no text, :data:`END` for the end of a
        sentence.
    """
    known = [None if symbol.startswith(PADDING) else bytes_of_symbol(symbol) for symbol in symbols]
    return [END if special == "</s>" else None for special in SPECIALS] + known


def bytes_of_tokenizer(tokenizer: Any, ends: set[int], line_feed_ends: bool = False) -> list[bytes | None]:
    """Return the text of each token of a tokenizer of transformers.

    Args:
        tokenizer: fast, or a slow one of sentencepiece.
        ends: tokens that end a sentence.
        line_feed_ends: a line feed ends one as well; what follows it in a token says nothing.

    Returns:
        one for each id: None for special tokens and those that stand for nothing, text and :data:`END`.

    Raises:
        UserError: it is of a kind whose tokens do not say what they stand for.
    """
    special = set(tokenizer.all_special_ids)
    if hasattr(tokenizer, "backend_tokenizer"):
        description = json.loads(tokenizer.backend_tokenizer.to_str())
        vocabulary = tokenizer.get_vocab()
        symbols = spelled_vocabulary(description, tokenizer_kind(description), vocabulary, special)
    else:
        # A Marian may have a vocabulary for each language: here those of the target count.
        vocabulary = getattr(tokenizer, "target_encoder", None) or tokenizer.get_vocab()
        size = max(vocabulary.values()) + 1
        tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(range(size))]
        if not any(token.startswith(WORD_START) for token in tokens):
            raise UserError(
                f"the tokenizer {type(tokenizer).__name__} does not say where words begin; give a teacher "
                "with a fast tokenizer or one of sentencepiece"
            )
        symbols = [
            UNKNOWN if number in special else spell_sentencepiece(token)
            for number, token in enumerate(tokens)
        ]
    line_feeds = _with_line_feeds(tokenizer, len(symbols)) if line_feed_ends else set()
    found: list[bytes | None] = []
    for number, symbol in enumerate(symbols):
        text = END if number in ends else None if symbol == UNKNOWN else bytes_of_symbol(symbol)
        if number in line_feeds and text is not None and number not in ends:
            # Symbols have one sign for all white space: what the token says decides.
            said = str(tokenizer.decode([number], clean_up_tokenization_spaces=False))
            if "\n" in said:
                text = _with_space(text, said.partition("\n")[0]) + END
        found.append(text or None)
    return found


def _with_line_feeds(tokenizer: Any, size: int) -> set[int]:
    """Return the tokens in which there may be a line feed."""
    tokens = map(str, tokenizer.convert_ids_to_tokens(range(size)))
    return {number for number, token in enumerate(tokens) if any(sign in token for sign in _LINE_FEEDS)}


def _with_space(symbol: bytes, before: str) -> bytes:
    """Return what stands before a line feed; decoders may have lost the space that it begins with."""
    text = before.encode()
    return b" " + text if text and symbol.startswith(b" ") and not before.startswith(" ") else text
