"""A teacher's tokenizer, seen as pieces in the "▁ starts a word" convention.

Whatever the tokenizer (WordPiece, unigram or BPE of sentencepiece, byte-level BPE), a sentence becomes a list of
pieces, each a *symbol* for the student's dictionary and the *teacher id* it stands for. Joining the symbols and
turning ▁ into a space gives the text back, which is what fairseq's ``--post-process sentencepiece`` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORD_START = "\u2581"
"""▁, which begins every piece that begins a word."""

LITERAL_MARK = "\u23bd"
"""Stands for a ▁ that is part of the text; :func:`pieces_to_text` turns it back."""

UNKNOWN = "<unk>"
"""The symbol of whatever the tokenizer does not know, fairseq's own."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class SpecialIds:
    """The teacher ids that frame a pair: ``[CLS] source [SEP] target [SEP]``."""

    cls: int
    sep: int
    mask: int
    pad: int
    unk: int


@dataclass(frozen=True)
class Pieces:
    """One sentence in pieces: ``symbols[i]`` is written to the data, ``teacher_ids[i]`` is what the teacher saw."""

    symbols: list[str]
    teacher_ids: list[int]


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Load a Hugging Face tokenizer and check that a conditional masked language model can use it.

    Raises:
        UserError: if the directory is missing, holds no tokenizer, or the tokenizer has no mask token (or another
            special token that frames a pair).
    """
    from transformers import AutoTokenizer

    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    path = Path(name_or_path).expanduser()
    if looks_like_path and not path.is_dir():
        raise UserError(f"teacher {name_or_path!r} is not a directory; give a Hugging Face directory or hub name")
    if path.is_dir() and not _has_any(path):
        raise UserError(
            f"teacher directory {name_or_path!r} has no tokenizer (looked for {', '.join(_TOKENIZER_FILES)}); "
            "save one there with tokenizer.save_pretrained(DIR)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name_or_path)
    except Exception as error:  # transformers raises many types, and a user can act on none of them by type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot load a tokenizer from {name_or_path!r}: {reason}; "
            "give a directory written by save_pretrained, or a hub name that can be reached"
        ) from error
    _check_special_tokens(tokenizer, name_or_path)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise UserError(
            f"the tokenizer of {name_or_path!r} ({type(tokenizer).__name__}) is a slow one; "
            "only fast tokenizers (tokenizer.json or a sentencepiece model) are supported: convert it and save it again"
        )
    return tokenizer  # type: ignore[no-any-return]


_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def _has_any(path: Path) -> bool:
    return any(next(path.glob(pattern), None) is not None for pattern in _TOKENIZER_FILES)


def _check_special_tokens(tokenizer: Any, name: str) -> None:
    for token in ("mask", "cls", "sep", "pad", "unk"):
        if getattr(tokenizer, f"{token}_token_id", None) is None:
            raise UserError(
                f"the tokenizer of {name!r} has no {token} token, which a conditional masked language model needs; "
                "take a BERT- or RoBERTa-like model, or name the token in tokenizer_config.json"
            )


class PieceTokenizer:
    """Turns text into :class:`Pieces` with one teacher's tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer, as :func:`load_tokenizer` returns it.

    Raises:
        UserError: if the tokenizer is none of WordPiece, sentencepiece or byte-level BPE.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        self._backend = type(backend).from_str(backend.to_str())  # a copy: we change its settings
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True  # "[MASK]" in a user's text is text
        description = json.loads(self._backend.to_str())
        self.kind = _tokenizer_kind(description)
        self._continuation = description["model"].get("continuing_subword_prefix") or ""
        self.special = SpecialIds(
            *(int(getattr(tokenizer, f"{name}_token_id")) for name in ("cls", "sep", "mask", "pad", "unk"))
        )
        self.separators = max(1, int(tokenizer.num_special_tokens_to_add(pair=True)) - 2)
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._base = self._base_symbols()

    @classmethod
    def from_pretrained(cls, name_or_path: str) -> PieceTokenizer:
        """Load from a Hugging Face directory or hub name; raises like :func:`load_tokenizer`."""
        return cls(load_tokenizer(name_or_path))

    def __len__(self) -> int:
        return len(self._base)

    def encode(self, text: str) -> Pieces:
        """Return the pieces of one sentence; runs of white space count as one space."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Pieces]:
        """Return the pieces of several sentences."""
        plain = [" ".join(text.split()) for text in texts]
        # ▁ means a space to sentencepiece and a byte sequence to others: cut it out, put it back as a piece.
        encodings = self._backend.encode_batch(
            [text.replace(WORD_START, " ") for text in plain], add_special_tokens=False
        )
        return [
            self._with_literal_marks(text, encoding) if WORD_START in text else self._pieces(text, encoding)
            for text, encoding in zip(plain, encodings, strict=True)
        ]

    def _pieces(self, text: str, encoding: Any) -> Pieces:
        ids: list[int] = encoding.ids
        base = self._base
        if not self._special_ids.isdisjoint(ids):  # unknown characters, or "</s>" spelled out in the text
            ids = [self.special.unk if i in self._special_ids else i for i in ids]
        if self.kind != "wordpiece":
            return Pieces([base[i] for i in ids], ids)
        symbols = [
            WORD_START + base[i] if start == 0 or text[start - 1] == " " else base[i]
            for i, (start, _) in zip(ids, encoding.offsets, strict=True)
        ]
        return Pieces(symbols, ids)

    def _with_literal_marks(self, text: str, encoding: Any) -> Pieces:
        """Rebuild the pieces of a text in which some ▁ are text: each becomes a piece of its own."""
        found: list[tuple[int, str, int]] = [  # (position, symbol, teacher id)
            (i, (WORD_START if i == 0 or text[i - 1] == " " else "") + LITERAL_MARK, self.special.unk)
            for i, character in enumerate(text)
            if character == WORD_START
        ]
        for teacher_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            while start < end and text[start] in (" ", WORD_START):  # some tokenizers count the space to the word
                start += 1
            if start == end:
                continue  # a piece of nothing but space
            teacher_id = self.special.unk if teacher_id in self._special_ids else teacher_id
            symbol = self._base[teacher_id].removeprefix(WORD_START)
            begins_word = start == 0 or text[start - 1] == " "
            found.append((start, WORD_START + symbol if begins_word else symbol, teacher_id))
        found.sort(key=lambda item: item[0])
        return Pieces([symbol for _, symbol, _ in found], [teacher_id for _, _, teacher_id in found])

    def _base_symbols(self) -> list[str]:
        """Return the symbol of every teacher id; for WordPiece without its word start, which offsets decide."""
        size = self._backend.get_vocab_size(with_added_tokens=True)
        tokens = [self._backend.id_to_token(i) or "" for i in range(size)]
        for special_id in self._special_ids:
            tokens[special_id] = UNKNOWN
        if self.kind == "wordpiece":
            return [token.removeprefix(self._continuation) for token in tokens]
        if self.kind == "bytelevel":
            alphabet = _byte_alphabet()
            return [_byte_symbol(token, alphabet) for token in tokens]
        return tokens


def pieces_to_text(symbols: Iterable[str]) -> str:
    """Join pieces to text: ▁ becomes a space, byte pieces become characters, a literal ▁ comes back.

    fairseq's ``--post-process sentencepiece`` gives the same text, but shows byte pieces as ``<0xE2>`` and a literal
    ▁ as ⎽.
    """
    joined = bytearray()
    for symbol in symbols:
        position = 0
        for match in _BYTE.finditer(symbol):
            joined += symbol[position : match.start()].encode()
            joined.append(int(match.group(1), 16))
            position = match.end()
        joined += symbol[position:].encode()
    text = joined.decode("utf-8", errors="replace")
    return text.replace(WORD_START, " ").replace(LITERAL_MARK, WORD_START).strip()


def _tokenizer_kind(description: dict[str, Any]) -> str:
    if description["model"]["type"] == "WordPiece":
        return "wordpiece"
    parts = json.dumps([description.get("pre_tokenizer"), description.get("decoder")], ensure_ascii=False)
    if '"ByteLevel"' in parts:
        return "bytelevel"
    if '"Metaspace"' in parts or WORD_START in parts:
        return "sentencepiece"
    raise UserError(
        f"the tokenizer is a {description['model']['type']} model without a word boundary mark; "
        "supported are WordPiece, sentencepiece (unigram or BPE) and byte-level BPE"
    )


def _byte_alphabet() -> dict[str, int]:
    """Return the printable character -> byte table of byte-level BPE (GPT-2's ``bytes_to_unicode``, inverted)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    alphabet.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return alphabet


def _byte_symbol(token: str, alphabet: dict[str, int]) -> str:
    """Spell a byte-level token as text; bytes that are no whole character become ``<0xE2>``."""
    if any(character not in alphabet for character in token):
        return token  # a special token
    raw = bytes(alphabet[character] for character in token)
    text = raw.decode("utf-8", errors="surrogateescape")
    spelled = "".join(
        f"<0x{ord(character) - 0xDC00:02X}>" if 0xDC80 <= ord(character) <= 0xDCFF else character for character in text
    )
    return re.sub(r"\s", WORD_START, spelled)
