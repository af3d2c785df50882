"""Sentences and pairs with a class or a score: corpora as they are published, and what models read of
them."""

from cmlm_kd.data.classification.corpora import (
    CORPORA,
    HUGGINGFACE,
    TEXT,
    CorpusFormat,
    ReadingOptions,
    corpus_format,
)
from cmlm_kd.data.classification.examples import Examples, hold_out, with_labels, without
from cmlm_kd.data.classification.reading import read_examples
from cmlm_kd.data.classification.tables import write_examples

__all__ = [
    "CORPORA",
    "HUGGINGFACE",
    "TEXT",
    "CorpusFormat",
    "Examples",
    "ReadingOptions",
    "corpus_format",
    "hold_out",
    "read_examples",
    "with_labels",
    "without",
    "write_examples",
]
