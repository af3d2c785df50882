"""A new BiLSTM student for a training set: its words, and the vectors they start from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.errors import UserError
from cmlm_kd.models.bilstm.model import BiLSTMClassifier, BiLSTMConfig, EmbeddingMode, WordInputs
from cmlm_kd.models.word_vectors import WordVectors, first_words, teacher_word_vectors, word_vectors
from cmlm_kd.system.ranges import AT_LEAST_ONE, NOT_NEGATIVE, check_range
from cmlm_kd.tokenization.words import WordVocabulary

logger = logging.getLogger(__name__)

TEACHER = "teacher"
"""Stands for the teacher's own word embeddings where a file of vectors could stand."""


@dataclass(frozen=True)
class BiLSTMOptions:
    """How to make a BiLSTM student; None means the default, which stands beside each.

    Attributes:
        word_vectors: a file (:mod:`cmlm_kd.models.word_vectors`), ``teacher``, or empty for random vectors.
        embeddings: ``static``, ``non-static`` or ``multichannel``; default: the last, or ``non-static`` where
            vectors are random.
        embedding_dim: width of random vectors; default: 300.
        extra_words: words to know besides those of the training set: as many as the file begins with.
        min_count: words that come less often in the training set are unknown.
        cased: whether texts keep their capital letters.
        hidden_size: see :class:`cmlm_kd.models.bilstm.model.BiLSTMConfig`, as the two that follow.
        fc_size: default 200.
        dropout: default 0.1.
    """

    word_vectors: str = ""
    embeddings: EmbeddingMode | None = None
    embedding_dim: int | None = None
    extra_words: int = 0
    min_count: int = 1
    cased: bool = False
    hidden_size: int = BiLSTMConfig.hidden_size
    fc_size: int = BiLSTMConfig.fc_size
    dropout: float = BiLSTMConfig.dropout


def build_bilstm(
    options: BiLSTMOptions, examples: Examples, teachers: Sequence[str] = (), max_length: int = 0
) -> BiLSTMClassifier:
    """Make a student whose vocabulary is that of a training set.

    Args:
        options: its shape.
        examples: what it will be trained on.
        teachers: Hugging Face directories; the first one's embeddings are meant by ``teacher``.
        max_length: longest input in words, 0 for no limit.

    Raises:
        UserError: if options contradict each other, or the vectors cannot be read.
    """
    _check(options, teachers)
    extra = first_words(Path(options.word_vectors), options.extra_words) if options.extra_words else []
    vocabulary = WordVocabulary.build(
        [*examples.first, *(examples.second or ())],
        lowercase=not options.cased,
        min_count=options.min_count,
        extra=extra,
    )
    vectors = _vectors(options, vocabulary, teachers)
    config = BiLSTMConfig(
        labels=examples.labels,
        pair=examples.second is not None,
        embedding_dim=_width(options, vectors),
        embeddings=options.embeddings or ("multichannel" if vectors else "non-static"),
        hidden_size=options.hidden_size,
        fc_size=options.fc_size,
        dropout=options.dropout,
    )
    inputs = WordInputs(vocabulary, max_length)
    return BiLSTMClassifier(config, inputs, vectors.matrix if vectors else None)


def _check(options: BiLSTMOptions, teachers: Sequence[str]) -> None:
    check_range("--min-count", options.min_count, AT_LEAST_ONE, owner="bilstm_classifier")
    check_range("--extra-words", options.extra_words, NOT_NEGATIVE, owner="bilstm_classifier")
    if not options.word_vectors and options.embeddings not in (None, "non-static"):
        raise UserError(
            f"bilstm_classifier: --embeddings {options.embeddings} keeps vectors as they are, but random "
            "ones would mean nothing; give --word-vectors FILE or --word-vectors teacher"
        )
    if options.word_vectors == TEACHER and not teachers:
        raise UserError(
            "bilstm_classifier: --word-vectors teacher needs a teacher; name one with --teacher DIR"
        )
    if options.extra_words and options.word_vectors in ("", TEACHER):
        raise UserError(
            f"bilstm_classifier: --extra-words {options.extra_words} are taken from a file of word vectors; "
            "give --word-vectors FILE"
        )


def _vectors(
    options: BiLSTMOptions, vocabulary: WordVocabulary, teachers: Sequence[str]
) -> WordVectors | None:
    if not options.word_vectors:
        return None
    if options.word_vectors == TEACHER:
        vectors = teacher_word_vectors(teachers[0], vocabulary)
    else:
        vectors = word_vectors(Path(options.word_vectors), vocabulary)
    logger.info("word vectors: %d of %d words have one", vectors.found, len(vocabulary) - 2)
    return vectors


def _width(options: BiLSTMOptions, vectors: WordVectors | None) -> int:
    if vectors is None:
        return options.embedding_dim if options.embedding_dim is not None else BiLSTMConfig.embedding_dim
    width = vectors.matrix.size(1)
    if options.embedding_dim not in (None, width):
        raise UserError(
            f"bilstm_classifier: --embedding-dim is {options.embedding_dim}, but {options.word_vectors} has "
            f"vectors of width {width}; leave the flag out"
        )
    return width
