"""Word vectors for students that read words: from text, a NumPy matrix, or a teacher's embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import iterate_lines
from cmlm_kd.tokenization.words import WordVocabulary

UNKNOWN_RANGE = 0.25
"""Words without a vector are drawn from U(-0.25, 0.25), as in the released BiLSTM code."""


@dataclass(frozen=True)
class WordVectors:
    """A row for each word of a vocabulary.

    Attributes:
        matrix: ``(V, e)`` float32; row 0, padding, is zero.
        found: words that have a vector of their own, the special ones not counted.
    """

    matrix: Tensor
    found: int


def word_vectors(
    path: Path, vocabulary: WordVocabulary, generator: torch.Generator | None = None
) -> WordVectors:
    """Read vectors for the words of a vocabulary, and draw those of unknown words.

    A word is looked up as it is spelled, then in lower case; where a file has a word twice the first counts.

    Args:
        path: GloVe's or word2vec's text format (``.gz`` too), or a ``.npy`` matrix with its words beside it,
            see :func:`iterate_vectors`.
        vocabulary: the words.
        generator: of the vectors that are drawn; default: torch's own.

    Raises:
        UserError: if the file is damaged (with its line), or has none of the words.
    """
    wanted = _wanted(vocabulary)
    found: dict[str, NDArray[np.float32]] = {}
    width = 0
    for word, read in iterate_vectors(path):
        if word in wanted and word not in found:
            found[word] = read()
            width = len(found[word])
    rows = {i: found.get(word, found.get(word.lower())) for i, word in enumerate(vocabulary.words)}
    known = {i: row for i, row in rows.items() if row is not None and i > vocabulary.unknown_idx}
    if not known:
        raise UserError(
            f"{path} has a vector for none of the {len(vocabulary) - 2} words of the training text, such as "
            f"{', '.join(vocabulary.words[2:5])}; give vectors of the text's language"
        )
    return _with_unknown(known, len(vocabulary), width, generator)


def teacher_word_vectors(
    teacher: str, vocabulary: WordVocabulary, generator: torch.Generator | None = None
) -> WordVectors:
    """Take a teacher's own word embeddings: a word's vector is the mean of those of its tokens.

    Args:
        teacher: Hugging Face directory or hub name.
        vocabulary: the words.
        generator: of the vectors of words that the teacher's tokenizer does not know; default: torch's own.

    Raises:
        UserError: if the teacher cannot be loaded, or its tokenizer knows none of the words.
    """
    tokenizer, table = _teacher_embeddings(teacher)
    words = vocabulary.words[2:]
    # A space in front: tokenizers that mark the beginning of a word spell it so inside a sentence.
    encoded = tokenizer([" " + word for word in words], add_special_tokens=False)["input_ids"]
    known = {}
    for i, ids in enumerate(encoded, 2):
        pieces = [piece for piece in ids if piece != tokenizer.unk_token_id]
        if pieces:
            known[i] = table[pieces].mean(0).numpy()  # (e,)
    if not known:
        raise UserError(
            f"the tokenizer of {teacher!r} knows none of the words of the training text; give a teacher of "
            "the text's language"
        )
    return _with_unknown(known, len(vocabulary), table.size(1), generator)


def iterate_vectors(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.float32]]]]:
    """Yield words, each with a function that reads its vector ``(e,)``.

    Text has a word and its e numbers per line, after an optional first line with the number of words and e. A
    matrix ``NAME.npy`` has its words in ``NAME.txt``, one per line.

    Raises:
        UserError: naming file and line, if anything is not as it should be.
    """
    if path.suffix == ".npy":
        yield from _iterate_matrix(path)
    else:
        yield from _iterate_text(path)


def first_words(path: Path, count: int) -> list[str]:
    """Return the ``count`` words that a file of vectors begins with: the most frequent ones, in GloVe's."""
    words: list[str] = []
    for word, _ in iterate_vectors(path):
        if len(words) >= count:
            break
        words.append(word)
    return words


def _iterate_text(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.float32]]]]:
    width = 0
    for number, line in enumerate(iterate_lines(path), 1):
        line = line.rstrip(" ")
        if number == 1 and _is_header(line):
            continue
        width = width or line.count(" ")
        word, *values = line.rsplit(" ", width)  # GloVe 840B has words with spaces
        if width < 1 or len(values) != width or not word:
            columns = line.count(" ") + 1
            raise UserError(
                f"{path}, line {number}: {columns} columns, where a word and {max(width, 1)} numbers should "
                "be, as in the first lines; the file is damaged or no text file of word vectors"
            )
        yield word, lambda values=values, number=number: _parse(path, number, values)  # type: ignore[misc]
    if not width:
        raise UserError(f"{path} is empty; give a file of word vectors")


def _is_header(line: str) -> bool:
    parts = line.split(" ")
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _parse(path: Path, number: int, values: Sequence[str]) -> NDArray[np.float32]:
    try:
        row = np.array(values, np.float32)  # (e,)
    except ValueError as error:
        raise UserError(f"{path}, line {number}: {error}; the file is damaged, copy it again") from None
    _check_finite(row, f"{path}, line {number}")
    return row


def _iterate_matrix(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.float32]]]]:
    names = path.with_suffix(".txt")
    if not names.is_file():
        raise UserError(f"{path} needs its words beside it, one per line, in {names.name}; write that file")
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)  # (words, e)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a matrix that numpy.save wrote") from error
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise UserError(
            f"{path} holds an array of {matrix.ndim} dimensions and type {matrix.dtype}; a matrix of "
            "floating point numbers with one row per word is needed"
        )
    words = list(iterate_lines(names))
    if len(words) != len(matrix):
        raise UserError(
            f"{path} has {len(matrix)} rows, {names} has {len(words)} words; give the words of this matrix"
        )
    for i, word in enumerate(words):

        def read(i: int = i) -> NDArray[np.float32]:
            row = np.array(matrix[i], np.float32)  # (e,)
            _check_finite(row, f"{path}, row {i + 1}")
            return row

        yield word, read


def _check_finite(row: NDArray[np.float32], place: str) -> None:
    if not np.isfinite(row).all():
        raise UserError(f"{place} has a number that is not finite; the file is damaged, copy it again")


def _wanted(vocabulary: WordVocabulary) -> set[str]:
    words = vocabulary.words[2:]
    return set(words) | {word.lower() for word in words}


def _with_unknown(
    rows: dict[int, NDArray[np.float32]], size: int, width: int, generator: torch.Generator | None
) -> WordVectors:
    matrix = torch.empty(size, width).uniform_(-UNKNOWN_RANGE, UNKNOWN_RANGE, generator=generator)  # (V, e)
    matrix[WordVocabulary.padding_idx] = 0.0
    index = torch.tensor(list(rows))  # (found,)
    matrix[index] = torch.from_numpy(np.stack(list(rows.values())))  # (found, e)
    return WordVectors(matrix, len(rows))


def _teacher_embeddings(teacher: str) -> tuple[Any, Tensor]:
    """Return tokenizer and embedding table ``(tokens, e)`` of a Hugging Face model."""
    from transformers import AutoModel

    from cmlm_kd.models.encoders.pretrained import check_weights, load_pretrained
    from cmlm_kd.tokenization.loading import load_tokenizer

    tokenizer = load_tokenizer(teacher, required=("pad", "unk"))
    model, missing = load_pretrained(AutoModel, teacher, "word embeddings")
    embeddings = model.get_input_embeddings().weight  # (tokens, e)
    check_weights(
        f"teacher {teacher!r}",
        (name for name, weight in model.named_parameters() if weight is embeddings and name in missing),
        "; give a directory written by save_pretrained",
        tensors="tensors of word embeddings",
    )
    table = embeddings.detach()  # (tokens, e)
    if len(tokenizer) > len(table):
        raise UserError(
            f"the tokenizer of {teacher!r} has {len(tokenizer)} tokens, the model embeds {len(table)}; give "
            "a teacher with its own tokenizer"
        )
    return tokenizer, table
