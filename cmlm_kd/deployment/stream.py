"""A stream of lines translated as it comes: several at a time where several are there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BufferedIOBase

from cmlm_kd.api.translator import Decoding
from cmlm_kd.data.classification.texts import TextPlace
from cmlm_kd.deployment.loaded import Loaded, LongTexts
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
    number = 1
    for lines in lines_as_they_come(stream, PLACE, LINES_AT_ONCE):
        found = model.translate_with_scores(
            lines,
            decoding,
            long_texts=long_texts,
            max_tokens=max_tokens,
            place=TextPlace(PLACE, number),
        )
        number += len(lines)
        for line, one in zip(lines, found, strict=True):
            if not as_json:
                yield one.text
                continue
            document = {
                "source": line,
                "translation": one.text,
                "score": round(one.score, 6),
                "finished": one.finished,
            }
            yield json.dumps(document, ensure_ascii=False)
        flush_output()
