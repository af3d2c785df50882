"""Words that a WordPiece tokenizer has already cut, so that each is cut once and not at every place.

A few thousand words are most of a text. BERT's pipeline cuts each word by itself, whatever stands beside it:
it is asked about new words alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from cmlm_kd.tokenization.spelling import WORD_START

_ALONE = (None, "BertPreTokenizer", "WhitespaceSplit"), (None, "BertNormalizer")
"""What cuts text into words, and what changes it before, without a look across a space."""

_MOST = 1 << 16
"""Words that are kept, the first that come, in about 25 MB: the common ones are among them."""

_LONGEST = 64
"""Characters of a word that is kept: a line of Chinese is one word, and never comes again."""


class Pieces(NamedTuple):
    """One sentence: ``symbols[i]`` is written to the data, ``teacher_ids[i]`` is the token it stands for."""

    symbols: list[str]
    teacher_ids: list[int]


def cuts_words_alone(description: dict[str, Any]) -> bool:
    """Return whether the pieces of a text are those of its words, end to end.

    Args:
        description: a fast tokenizer's, as it saves itself.
    """
    parts = (description.get("pre_tokenizer"), description.get("normalizer"))
    types = (part and part["type"] for part in parts)
    special = all(token["special"] for token in description["added_tokens"])  # another may hold a space
    known = all(type_ in alone for type_, alone in zip(types, _ALONE, strict=True))
    return description["model"]["type"] == "WordPiece" and parts[0] is not None and known and special


class KnownWords:
    """A cache of words.

    Args:
        backend: a tokenizer of the package ``tokenizers`` with :func:`cuts_words_alone`.
        spelling: of each teacher id, without ▁.
    """

    def __init__(self, backend: Any, spelling: Sequence[str]) -> None:
        self._backend = backend
        self._spelling = spelling
        self._known: dict[str, Pieces] = {}

    def pieces(self, texts: Sequence[str]) -> Iterator[Pieces]:
        """Yield the pieces of each text; none may hold a ▁."""
        words = dict.fromkeys(chain.from_iterable(map(str.split, texts)))
        new = [word for word in words if word not in self._known]
        found = dict(zip(new, self._cut(new), strict=True))
        look_up = {**self._known, **found}.__getitem__
        kept = (item for item in found.items() if len(item[0]) <= _LONGEST)
        self._known.update(islice(kept, _MOST - len(self._known)))
        for text in texts:
            cut = list(map(look_up, text.split()))
            yield Pieces(
                [symbol for symbols, _ in cut for symbol in symbols],
                [teacher_id for _, teacher_ids in cut for teacher_id in teacher_ids],
            )

    def _cut(self, words: list[str]) -> Iterator[Pieces]:
        """Yield the pieces of each word, of which the first begins it; no offsets are needed to know that."""
        spelling = self._spelling
        for encoding in self._backend.encode_batch_fast(words, add_special_tokens=False):
            ids: list[int] = encoding.ids
            symbols = [spelling[i] for i in ids]
            if symbols:
                symbols[0] = WORD_START + symbols[0]
            yield Pieces(symbols, ids)
