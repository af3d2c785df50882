"""The output of ``fairseq-generate`` and ``fairseq-interactive``, read back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import read_lines
from cmlm_kd.tokenization.spelling import WORD_START, joined_to_text, pieces_to_text

_HYPOTHESIS = re.compile(r"([HD])-(\d+)\t[^\t]*\t(.*)")
_SOURCE = re.compile(r"S-(\d+)\t(.*)")
_SPEED = re.compile(
    r"Translated ([\d,]+) sentences \(([\d,]+) tokens\) in ([\d.]+)s "
    r"\(([\d.]+) sentences/s, ([\d.]+) tokens/s\)"
)


@dataclass(frozen=True)
class DecodingSpeed:
    """What fairseq measured while it decoded: seconds inside the search only, batching and start-up apart."""

    sentences: int
    tokens: int
    sentences_per_second: float
    tokens_per_second: float


def read_hypotheses(path: Path, sentences: int | None = None) -> list[str]:
    """Return the best hypothesis of each sentence, as text, in corpus order.

    ``D-`` lines (after fairseq's own ``--bpe`` and ``--tokenizer``) are preferred to ``H-`` lines. Pieces
    that are still in the "▁ starts a word" convention are joined, byte tokens become characters.

    Args:
        path: the file.
        sentences: how many there must be; None takes the last one found for the last one there is.

    Raises:
        UserError: the file is missing, not UTF-8, holds no hypothesis, or lacks sentences.
    """
    hypotheses = _by_sentence(read_lines(path))
    if not hypotheses:
        raise UserError(
            f"{path} holds no D- or H- line; give the output of fairseq-generate (without --quiet), "
            "or leave --from-generate out for plain text"
        )
    count = max(hypotheses) + 1 if sentences is None else sentences
    missing = sorted(set(range(count)) - set(hypotheses))
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{path} lacks {len(missing)} of {count} sentences ({shown}): fairseq drops a last batch that is "
            "no multiple of 8, and with --skip-invalid-size-inputs-valid-test sentences longer than the "
            "model's positions; decode with --required-batch-size-multiple 1, shorten or part such sentences "
            "(without that flag one of them ends the decoding), and join the outputs of all shards"
        )
    if len(hypotheses) > count:
        raise UserError(
            f"{path} has {len(hypotheses)} sentences, {count} are expected; it is of another text"
        )
    return _join_pieces([hypotheses[sentence] for sentence in range(count)])


def read_sources(path: Path, sentences: int) -> list[str] | None:
    """Return the sources that ``fairseq-generate`` printed (``S-`` lines), as text, in corpus order.

    Args:
        path: the file.
        sentences: how many there must be.

    Returns:
        None where it printed none, or not all of them.

    Raises:
        UserError: the file is missing, or not UTF-8.
    """
    found: dict[int, str] = {}
    for line in read_lines(path):
        match = _SOURCE.fullmatch(line)
        if match is not None:
            found.setdefault(int(match[1]), match[2])
    return (
        _join_pieces([found[row] for row in range(sentences)])
        if set(found) == set(range(sentences))
        else None
    )


def refuse_generated(path: Path, lines: Sequence[str]) -> None:
    """Refuse lines, taken for plain text, that ``fairseq-generate`` or ``fairseq-interactive`` printed.

    Raises:
        UserError: naming the flag that reads them.
    """
    if _by_sentence(lines):
        raise UserError(f"{path} holds H- or D- lines, as fairseq-generate prints them; add --from-generate")


def read_speed(path: Path) -> DecodingSpeed:
    """Return the decoding speed that ``fairseq-generate`` printed.

    Raises:
        UserError: the file has no such line.
    """
    for line in reversed(read_lines(path)):
        match = _SPEED.search(line)
        if match is not None:
            sentences, tokens = (int(match[group].replace(",", "")) for group in (1, 2))
            return DecodingSpeed(sentences, tokens, float(match[4]), float(match[5]))
    raise UserError(
        f"{path} has no 'Translated ... sentences' line: give what fairseq-generate wrote to standard error "
        "(2> FILE)"
    )


def _by_sentence(lines: Sequence[str]) -> dict[int, str]:
    """Sentence -> text of its first (best) D- line, else of its first H- line."""
    found: dict[str, dict[int, str]] = {"D": {}, "H": {}}
    for line in lines:
        match = _HYPOTHESIS.fullmatch(line)
        if match is not None:
            found[match[1]].setdefault(int(match[2]), match[3])
    return {**found["H"], **found["D"]}


def _join_pieces(lines: Sequence[str]) -> list[str]:
    """Turn tokens into text where fairseq did not.

    Text has no ▁ at the start of most lines; tokens do, apart from an odd line that starts inside a word.
    """
    written = [line for line in lines if line]
    in_pieces = sum(line.startswith(WORD_START) for line in written) * 2 > len(written)
    return [pieces_to_text(line.split(" ")) if in_pieces else joined_to_text(line) for line in lines]
