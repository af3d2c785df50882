"""Translates many sentences: sorted by length into batches, results in the order of the input."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cmlm_kd.api.translator import Decoding, Hypothesis, Source, Translator
from cmlm_kd.errors import UserError

_UNSEEN = frozenset(["Cc", "Cf", "Zs", "Zl", "Zp"])
"""Categories of characters: control, format, and what separates."""


def translate_texts(
    translator: Translator,
    texts: Sequence[str],
    decoding: Decoding,
    *,
    max_tokens: int = 4096,
    report: Callable[[int], None] | None = None,
) -> list[list[Hypothesis]]:
    """Return the hypotheses of each text, in the order of the texts.

    A line without anything that can be seen, and one that is longer than the model reads, has none. Samples
    of a batch are drawn from a seed of its own, so that the result depends on the arguments alone.

    Args:
        translator: what translates.
        texts: sentences.
        decoding: how.
        max_tokens: source tokens a batch, padding included; a longer sentence is a batch of its own.
        report: called after each batch with the number of texts done, those without hypotheses included.

    Raises:
        UserError: from the translator, or of one that gives too few hypotheses or no finite scores.
    """
    results: list[list[Hypothesis]] = [[] for _ in texts]
    sources = translator.encode(texts)
    rows = [row for row in range(len(texts)) if is_readable(translator, sources[row])]
    if report is not None:
        report(len(texts) - len(rows))
    for number, batch in enumerate(batches(sources, rows, max_tokens)):
        seeded = replace(decoding, seed=seed_of(decoding.seed, number)) if decoding.sampling else decoding
        found = translator.translate([sources[row] for row in batch], seeded)
        for row, entries in zip(batch, found, strict=True):
            results[row] = _checked(entries, sources[row], decoding)
        if report is not None:
            report(len(batch))
    return results


def seed_of(seed: int, part: int) -> int:
    """Return the seed of a part of a work that has a seed: far from that of every other part."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {part}".encode(), digest_size=4).digest())


def _checked(found: Sequence[Hypothesis], source: Source, decoding: Decoding) -> list[Hypothesis]:
    """Return hypotheses, each on one line.

    Raises:
        UserError: there are fewer than asked for, or a score is no finite number.
    """
    place = f"for {source.text[:40]!r}"
    if len(found) < decoding.n_best:
        raise UserError(
            f"the model gives {len(found)} hypotheses {place}, --n-best is {decoding.n_best}; ask for fewer"
        )
    for entry in found:
        if not math.isfinite(entry.score):
            raise UserError(
                f"the model's score is {entry.score} {place}: it gives no finite numbers; take an earlier "
                "checkpoint, or one that has not diverged"
            )
    return [entry._replace(text=" ".join(entry.text.split())) for entry in found]


def is_readable(translator: Translator, source: Source) -> bool:
    """Return whether a sentence has something to translate, and no more than the model reads."""
    return not says_nothing(source) and not is_too_long(translator, source)


def says_nothing(source: Source) -> bool:
    """Return whether a sentence has nothing to translate."""
    return not is_visible(source.text) or not source.tokens


def is_visible(text: str) -> bool:
    """Return whether a text has a sign that can be seen.

    Of others (a zero-width space, a byte-order mark) tokenizers leave nothing, and a model that reads nothing
    makes something up.
    """
    return any(unicodedata.category(sign) not in _UNSEEN for sign in text)


def is_too_long(translator: Translator, source: Source) -> bool:
    """Return whether a sentence has more tokens than the model reads."""
    most = translator.most_source_tokens
    return most is not None and len(source.tokens) > most


def batches(sources: Sequence[Source], rows: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield rows by falling length, up to ``max_tokens`` tokens with padding in a batch."""
    order = sorted(rows, key=lambda row: -len(sources[row].tokens))
    start = 0
    while start < len(order):
        longest = max(1, len(sources[order[start]].tokens))
        size = max(1, max_tokens // longest)
        yield order[start : start + size]
        start += size
