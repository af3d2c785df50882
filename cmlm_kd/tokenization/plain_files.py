"""A piece tokenizer as two files that need nothing but the package ``tokenizers``.

``tokenizer.json`` cuts text, ``symbols.json`` is the list of the student's symbols by the ids that come out::

    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    symbols = json.load(open("symbols.json"))
    [symbols[i] for i in tokenizer.encode(text).ids]

gives what :meth:`cmlm_kd.tokenization.pieces.PieceTokenizer.encode` does, except for a ▁ in the text, which
counts as a space here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.spelling import SPECIALS, UNKNOWN
from cmlm_kd.tokenization.wordpiece_marks import marked_normalizer, marked_pre_tokenizer, marked_spellings

TOKENIZER_FILE = "tokenizer.json"
SYMBOLS_FILE = "symbols.json"


def write_plain_files(pieces: PieceTokenizer, directory: Path) -> None:
    """Write both files.

    Raises:
        UserError: the tokenizer normalises text in a way that cannot be put down.
    """
    document, symbols = plain_tokenizer(pieces)
    for name, value in ((TOKENIZER_FILE, document), (SYMBOLS_FILE, symbols)):
        (directory / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def plain_tokenizer(pieces: PieceTokenizer) -> tuple[dict[str, Any], list[str]]:
    """Return the document ``tokenizer.json`` and the symbol of each of its ids.

    Raises:
        UserError: see :func:`write_plain_files`.
    """
    if pieces.kind == "wordpiece":
        return _of_wordpiece(pieces)
    document = json.loads(pieces.backend.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if not token["special"]]
    steps = [
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
    ]
    if pieces.kind == "bytelevel":  # the first word is a word like all others
        steps.append({"type": "Prepend", "prepend": " "})
    if document["normalizer"] is not None:
        steps.append(document["normalizer"])
    document["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return document, [pieces.symbol(i) for i in range(len(pieces))]


def _of_wordpiece(pieces: PieceTokenizer) -> tuple[dict[str, Any], list[str]]:
    description = json.loads(pieces.backend.to_str())
    if (description.get("normalizer") or {}).get("type") != "BertNormalizer":
        raise UserError(
            "the teacher's tokenizer normalises text in a way of its own "
            f"({(description.get('normalizer') or {}).get('type')}); give a data-bin of a BERT's tokenizer"
        )
    spellings = marked_spellings(description)
    vocabulary = [SPECIALS[3], *spellings]
    model = description["model"]
    document: dict[str, Any] = {
        **{"version": "1.0", "truncation": None, "padding": None, "added_tokens": []},
        "normalizer": marked_normalizer(description["normalizer"]),
        "pre_tokenizer": marked_pre_tokenizer(description["normalizer"]),
        "post_processor": None,
        "decoder": None,
        "model": {
            **model,
            "unk_token": SPECIALS[3],
            "max_input_chars_per_word": int(model["max_input_chars_per_word"]) + 1,  # the mark counts
            "vocab": {token: i for i, token in enumerate(vocabulary)},
        },
    }
    return document, [UNKNOWN, *spellings.values()]
