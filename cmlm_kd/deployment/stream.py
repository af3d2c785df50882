"""A stream of lines translated as it comes: several at a time where several are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BufferedIOBase

from cmlm_kd.api.translator import Decoding
from cmlm_kd.data.classification.texts import TextPlace
from cmlm_kd.deployment.loaded import Loaded, LongTexts, Translation
from cmlm_kd.errors import UserError
from cmlm_kd.system.text import flush_output, lines_as_they_come

LINES_AT_ONCE = 512
"""Lines that are sorted by length together, at most."""

PLACE = "standard input"


def translated_lines(
    model: Loaded,
    stream: BufferedIOBase,
    decoding: Decoding,
    *,
    as_json: bool = False,
    long_texts: LongTexts = "refuse",
    max_tokens: int | None = None,
) -> Iterator[str]:
    """Yield a line for each line of a stream; an empty one for an empty one.

    Args:
        model: that translates.
        stream: of text, UTF-8.
        decoding: how.
        as_json: objects with ``source``, ``translation``, ``score`` and ``finished`` instead of text.
        long_texts: see :meth:`cmlm_kd.deployment.loaded.Loaded.translate`.
        max_tokens: source tokens a batch; None for what suits the model.

    Raises:
        UserError: naming the line that is too long or not UTF-8; those before it have been answered.
    """

    def answer(lines: list[str], number: int) -> Iterator[str]:
        found = model.translate_with_scores(
            lines,
            decoding,
            long_texts=long_texts,
            max_tokens=max_tokens,
            place=TextPlace(PLACE, number),
        )
        for line, one in zip(lines, found, strict=True):
            yield _as_json(line, one) if as_json else one.text

    number = 1
    for lines in lines_as_they_come(stream, PLACE, LINES_AT_ONCE):
        yield from answered_in_turn(answer, lines, number)
        number += len(lines)
        flush_output()


def answered_in_turn(
    answer: Callable[[list[str], int], Iterator[str]], lines: list[str], number: int
) -> Iterator[str]:
    """Yield the answers to lines that came together; where one is refused, those to the lines before it.

    Args:
        answer: from lines and the number of the first of them to what is printed.
        lines: that came together.
        number: of the first of them.

    Raises:
        UserError: why one was refused.
    """
    try:
        found = list(answer(lines, number))
    except UserError:
        if len(lines) < 2:
            raise
        found = None
    if found is not None:
        yield from found
        return
    for row, line in enumerate(lines):
        yield from answer([line], number + row)


def _as_json(line: str, one: Translation) -> str:
    document = {
        "source": line,
        "translation": one.text,
        "score": round(one.score, 6),
        "finished": one.finished,
    }
    return json.dumps(document, ensure_ascii=False)
