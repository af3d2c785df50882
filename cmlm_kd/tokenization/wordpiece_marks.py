"""WordPiece as a pipeline of the package ``tokenizers`` whose words begin with ▁ where a space precedes them.

BERT's own pipeline forgets where spaces were: its tokens of ``well-known`` and ``well - known`` are the same.
This one turns spaces into the mark first, cuts where BERT cuts, and looks for each word with its mark.
"""

from __future__ import annotations

from typing import Any

from cmlm_kd.tokenization.spelling import WORD_START, spell_text

_PUNCTUATION = r"\p{P}$+<=>^`|~"
"""What BERT cuts off as a token of its own: ASCII's signs and Unicode's punctuation."""

_IDEOGRAPHS = r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}\x{F900}-\x{FAFF}"
"""Chinese characters, each of which is a word to BERT."""


def marked_spellings(description: dict[str, Any]) -> dict[str, str]:
    """Return token of the marked pipeline -> the student's symbol, special tokens left out.

    Continuations come first, so that the first of two tokens of one symbol is what translations have more of.

    Args:
        description: a WordPiece tokenizer, as it saves itself.
    """
    prefix = description["model"].get("continuing_subword_prefix") or ""
    special = {token["content"] for token in description["added_tokens"]}
    named = [token for token in description["model"]["vocab"] if token not in special]
    found = {token: spell_text(token[len(prefix) :]) for token in named if token.startswith(prefix)}
    for token in named:
        if not token.startswith(prefix):
            found[WORD_START + token] = WORD_START + spell_text(token)
            found[token] = spell_text(token)
    return found


def marked_normalizer(normalizer: dict[str, Any]) -> dict[str, Any]:
    """Return BERT's normaliser with the marks put in.

    Args:
        normalizer: ``BertNormalizer``, as a tokenizer saves it.
    """
    return {
        "type": "Sequence",
        "normalizers": [
            {**normalizer, "handle_chinese_chars": False},  # it would put spaces where the text has none
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": WORD_START},
            {"type": "Prepend", "prepend": WORD_START},
        ],
    }


def marked_pre_tokenizer(normalizer: dict[str, Any]) -> dict[str, Any]:
    """Return what cuts normalised text into words, each with the mark before it; see
    :func:`marked_normalizer`."""
    alone = _PUNCTUATION + (_IDEOGRAPHS if normalizer["handle_chinese_chars"] else "")
    mark = WORD_START
    return {
        "type": "Split",
        "pattern": {"Regex": f"{mark}?[{alone}]|{mark}?[^{mark}{alone}]+|{mark}"},
        "behavior": "Isolated",
        "invert": False,
    }
