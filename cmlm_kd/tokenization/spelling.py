"""Spelling of a teacher's tokens in the student's dictionary, and reading them back as text.

A symbol is text in which ▁ stands for a space. Bytes that are no whole character, and the few strings that
would mean something else to fairseq or to this convention, are spelled ``<0xE2>``, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WORD_START = "\u2581"
"""▁, which begins every piece that begins a word."""

LITERAL_MARK = "\u23bd"
"""⎽, which stands for a ▁ that is part of the text; :func:`pieces_to_text` turns it back."""

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""fairseq's own entries, in the order of its dictionaries."""

UNKNOWN = SPECIALS[3]
"""The symbol of whatever the tokenizer does not know."""

PADDING = "madeupword"
"""What fairseq's padding entries begin with."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = re.compile(r"\s")  # Python's notion of a space, which is also that of fairseq's line tokenizer


def spell_text(token: str) -> str:
    """Return the symbol of a token that is plain text, ▁ standing for a space."""
    token = _BYTE.sub(lambda match: _spell_bytes(b"<") + match.group()[1:], token)
    if token in SPECIALS or token.startswith(PADDING):
        token = _spell_bytes(token[:1].encode()) + token[1:]
    return _SPACE.sub(WORD_START, token.replace(LITERAL_MARK, _spell_bytes(LITERAL_MARK.encode())))


def spell_sentencepiece(token: str) -> str:
    """Return the symbol of a sentencepiece token, a byte's ``<0xE2>`` included."""
    return token if _BYTE.fullmatch(token) else spell_text(token)


def spell_byte_level(token: str) -> str:
    """Return the symbol of a token of byte-level BPE, each of whose characters stands for a byte."""
    raw = bytes(_BYTE_OF[character] for character in token)
    text = raw.decode("utf-8", errors="surrogateescape")
    runs = re.split("([\udc80-\udcff]+)", text)  # whole characters and, at odd places, bytes that are none
    return "".join(
        _spell_bytes(run.encode("utf-8", errors="surrogateescape")) if i % 2 else spell_text(run)
        for i, run in enumerate(runs)
    )


def pieces_to_text(symbols: Iterable[str]) -> str:
    """Join symbols to text: ▁ becomes a space, bytes become characters, a literal ▁ comes back.

    fairseq's ``--post-process sentencepiece`` gives the same text, but shows bytes as ``<0xE2>`` and a
    literal ▁ as ⎽. Bytes that make no character become U+FFFD.
    """
    return _read(symbols, space=" ").strip()


def joined_to_text(line: str) -> str:
    """Finish what ``--post-process sentencepiece`` began: bytes become characters, a literal ▁ comes back.

    A ▁ in the line is text already.
    """
    return _read([line], space=WORD_START)


def _read(symbols: Iterable[str], space: str) -> str:
    """Join symbols, ▁ read as ``space``."""
    joined = bytearray()
    for symbol in symbols:
        for i, part in enumerate(_BYTE.split(symbol)):  # text and, at odd places, the two digits of a byte
            if i % 2:
                joined.append(int(part, 16))
            else:
                joined += part.replace(WORD_START, space).replace(LITERAL_MARK, WORD_START).encode()
    return joined.decode("utf-8", errors="replace")


def _spell_bytes(raw: bytes) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in raw)


def _byte_table() -> dict[str, int]:
    """Return character -> byte of byte-level BPE: printable Latin-1 is itself, others follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)).difference(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_table()
