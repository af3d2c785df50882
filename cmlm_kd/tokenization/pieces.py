"""A teacher's tokenizer, seen as tokens in the "▁ starts a word" convention.

Whatever the tokenizer (WordPiece, unigram or BPE of sentencepiece, byte-level BPE), a sentence becomes a list
of pieces, each a *symbol* for the student's dictionary and the *teacher id* it stands for. Joining the
symbols and turning ▁ into a space gives the text back, which is what fairseq's ``--post-process
sentencepiece`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.known_words import KnownWords, Pieces, cuts_words_alone
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.spelling import (
    LITERAL_MARK,
    UNKNOWN,
    WORD_START,
    pieces_to_text,
    spell_byte_level,
    spell_sentencepiece,
    spell_text,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "LITERAL_MARK",
    "UNKNOWN",
    "WORD_START",
    "PieceTokenizer",
    "Pieces",
    "SpecialIds",
    "load_tokenizer",
    "pieces_to_text",
]


@dataclass(frozen=True)
class SpecialIds:
    """The teacher ids that frame a pair: ``[CLS] source [SEP] target [SEP]``."""

    cls: int
    sep: int
    mask: int
    pad: int
    unk: int


class PieceTokenizer:
    """Turns text into :class:`Pieces` with one teacher's tokenizer.

    Special tokens that are spelled out in a text ("[MASK]", "</s>") are text. The first word of a byte-level
    tokenizer's text is tokenised as if a space stood before it, like all other words.

    Args:
        tokenizer: a fast Hugging Face tokenizer, as :func:`load_tokenizer` returns it.

    Attributes:
        tokenizer: the same.
        kind: ``wordpiece``, ``sentencepiece`` or ``bytelevel``.
        special: ids of the tokens that frame a pair.
        separators: ``[SEP]`` tokens between source and target: 1 for BERT, 2 for RoBERTa's relatives.

    Raises:
        UserError: if the tokenizer is none of WordPiece, sentencepiece or byte-level BPE.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        description = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
        self.kind = tokenizer_kind(description)
        self.special = SpecialIds(
            *(int(getattr(tokenizer, f"{name}_token_id")) for name in ("cls", "sep", "mask", "pad", "unk"))
        )
        self.separators = max(1, int(tokenizer.num_special_tokens_to_add(pair=True)) - 2)
        special_ids = {token["id"] for token in description["added_tokens"] if token["special"]}
        special_ids.update(vars(self.special).values())
        self._added_ids = {token["id"] for token in description["added_tokens"]} - special_ids
        self._symbols = spelled_vocabulary(description, self.kind, tokenizer.get_vocab(), special_ids)
        alone = cuts_words_alone(description)
        self._backend = _without_special_tokens(tokenizer, description, special_ids)
        self._words = KnownWords(self._backend, self._symbols) if alone else None

    @classmethod
    def from_pretrained(cls, name_or_path: str) -> PieceTokenizer:
        """Load from a Hugging Face directory or hub name; raises like :func:`load_tokenizer`."""
        return cls(load_tokenizer(name_or_path))

    def __len__(self) -> int:
        return len(self._symbols)

    @property
    def backend(self) -> Any:
        """A tokenizer of the package ``tokenizers`` that finds no special token in a text, ids as usual."""
        return self._backend

    def symbol(self, teacher_id: int) -> str:
        """Return how a teacher's token is spelled; of WordPiece without ▁, which depends on the text."""
        return self._symbols[teacher_id]

    def encode(self, text: str) -> Pieces:
        """Return the pieces of one sentence; runs of white space count as one space."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Pieces]:
        """Return the pieces of several sentences."""
        return list(self.pieces_of(texts))

    def pieces_of(self, texts: Sequence[str]) -> Iterator[Pieces]:
        """Yield the pieces of several sentences, one after the other: those of :meth:`encode_batch`."""
        if self._words is None:
            return self._cut(texts)
        plain = self._words.pieces([text for text in texts if WORD_START not in text])
        return (self._cut_one(text) if WORD_START in text else next(plain) for text in texts)

    def _cut_one(self, text: str) -> Pieces:
        return next(self._cut([text]))

    def _cut(self, texts: Sequence[str]) -> Iterator[Pieces]:
        # ▁ means a space to sentencepiece and some bytes to others: it is cut out and put back as a piece.
        splits = [" ".join(text.split()).split(WORD_START) for text in texts]
        parts = [part.strip() for split in splits for part in split]
        # Without a space before it, byte-level BPE has other tokens for the first word than for the same word
        # later.
        inputs = [" " + part if part else part for part in parts] if self.kind == "bytelevel" else parts
        encodings = self._backend.encode_batch(inputs, add_special_tokens=False)
        pieces = (self._pieces(text, encoding) for text, encoding in zip(inputs, encodings, strict=True))
        for split in splits:
            yield next(pieces) if len(split) == 1 else self._join(split, list(islice(pieces, len(split))))

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the teacher ids of several sentences: those of :meth:`encode_batch`, in less time."""
        plain = [" ".join(text.split()) for text in texts]
        if any(WORD_START in text for text in plain):
            return [pieces.teacher_ids for pieces in self.encode_batch(texts)]
        inputs = [" " + text if text else text for text in plain] if self.kind == "bytelevel" else plain
        encodings = self._backend.encode_batch_fast(inputs, add_special_tokens=False)
        found: list[list[int]] = [encoding.ids for encoding in encodings]
        if self.kind != "wordpiece" and self._added_ids:
            for row, ids in enumerate(found):
                if not self._added_ids.isdisjoint(ids):  # spelling decides which pieces stay
                    found[row] = self.encode(plain[row]).teacher_ids
        return found

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return, for each text, its teacher ids and where each begins and ends in the text.

        A piece that counts the space before its word begins at that space.
        """
        added = 1 if self.kind == "bytelevel" else 0  # the space before the first word, as above
        encodings = self._backend.encode_batch(
            [" " * added + text for text in texts], add_special_tokens=False
        )
        return [
            (encoding.ids, [(max(0, start - added), end - added) for start, end in encoding.offsets])
            for encoding in encodings
        ]

    def _pieces(self, text: str, encoding: Any) -> Pieces:
        ids: list[int] = encoding.ids
        spelling = self._symbols
        if self.kind == "wordpiece":
            return Pieces(_mark_word_starts(text, [spelling[i] for i in ids], encoding.offsets), ids)
        if self._added_ids and not self._added_ids.isdisjoint(ids):
            # What follows an added token is a new beginning to Hugging Face, and gets a ▁ even without a
            # space.
            symbols = [spelling[i].removeprefix(WORD_START) for i in ids]
            marked = _mark_word_starts(text, symbols, encoding.offsets)
            kept = [i for i, symbol in enumerate(marked) if symbol]
            return Pieces([marked[i] for i in kept], [ids[i] for i in kept])
        return Pieces([spelling[i] for i in ids], ids)

    def _join(self, split: Sequence[str], parts: Sequence[Pieces]) -> Pieces:
        """Put a ▁ of the text, as a piece of its own, between the parts that it separates."""
        symbols, teacher_ids = list(parts[0].symbols), list(parts[0].teacher_ids)
        for i in range(1, len(split)):
            after_space = split[i - 1].endswith(" ") or (i == 1 and not split[0])
            symbols.append(WORD_START + LITERAL_MARK if after_space else LITERAL_MARK)
            teacher_ids.append(self.special.unk)
            inside_word = not split[i].startswith(" ")
            for j, (symbol, teacher_id) in enumerate(
                zip(parts[i].symbols, parts[i].teacher_ids, strict=True)
            ):
                symbol = symbol.removeprefix(WORD_START) if j == 0 and inside_word else symbol
                if symbol:
                    symbols.append(symbol)
                    teacher_ids.append(teacher_id)
        return Pieces(symbols, teacher_ids)


def _mark_word_starts(text: str, symbols: Iterable[str], offsets: Iterable[tuple[int, int]]) -> list[str]:
    """Put a ▁ before each symbol that is the first of the text or has a space between it and the one before.

    Symbols that are parts of one character have the offsets of that character, and characters that the
    tokenizer deletes have none.
    """
    marked: list[str] = []
    end = 0
    for symbol, (start, stop) in zip(symbols, offsets, strict=True):
        begins = not marked or " " in text[end : start + 1]  # some tokenizers count the space to the word
        marked.append(WORD_START + symbol if begins else symbol)
        end = stop
    return marked


def tokenizer_kind(description: dict[str, Any]) -> str:
    """Return ``wordpiece``, ``sentencepiece`` or ``bytelevel``.

    Args:
        description: a fast tokenizer's, as it saves itself.

    Raises:
        UserError: if it is none of them.
    """
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


def spelled_vocabulary(
    description: dict[str, Any], kind: str, vocabulary: dict[str, int], special_ids: Iterable[int]
) -> list[str]:
    """Return the symbol of every teacher id; ids that no token has are unknown, like special ones."""
    continuation = description["model"].get("continuing_subword_prefix") or ""
    added = {token["id"] for token in description["added_tokens"]}
    symbols = [UNKNOWN] * (max(vocabulary.values()) + 1)
    for token, i in vocabulary.items():
        if i in added:
            symbols[i] = spell_text(token)
        elif kind == "bytelevel":
            symbols[i] = spell_byte_level(token)
        elif kind == "wordpiece":
            symbols[i] = spell_text(token.removeprefix(continuation))
        else:
            symbols[i] = spell_sentencepiece(token)
    for i in special_ids:
        symbols[i] = UNKNOWN
    return symbols


def _without_special_tokens(
    tokenizer: PreTrainedTokenizerBase, description: dict[str, Any], special_ids: set[int]
) -> Any:
    """Return a copy of the backend that finds no special token in a text, with the same ids for all others.

    Special tokens keep their ids under names that hold a space, which no string that reaches the model does.
    """

    def name(token: str, token_id: int) -> str:
        return f"special {token_id}" if token_id in special_ids else token

    model = description["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [[name(token, i), score] for i, (token, score) in enumerate(model["vocab"])]
    else:
        if model.get("unk_token") is not None:
            model["unk_token"] = name(model["unk_token"], model["vocab"].get(model["unk_token"], -1))
        model["vocab"] = {name(token, i): i for token, i in model["vocab"].items()}
    for token in description["added_tokens"]:
        token["content"] = name(token["content"], token["id"])
        token["special"] = token["id"] in special_ids
    backend = type(tokenizer.backend_tokenizer).from_str(  # type: ignore[attr-defined]
        json.dumps(description | {"post_processor": None, "padding": None, "truncation": None})
    )
    backend.encode_special_tokens = True
    return backend
