"""The choices that a reader of a corpus has: columns, labels, held-out part."""

from __future__ import annotations

from dataclasses import dataclass

from cmlm_kd.data.classification.corpora import TEXT


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a corpus.

    Attributes:
        corpus: its name, see :mod:`cmlm_kd.data.classification.corpora`.
        labels: names of the classes in the order of a model's logits; empty: those of the corpus, or, for
            plain text, of the training set, by value if all are integers, else in alphabetical order.
        regression: plain text and datasets: the last column holds scores.
        text_columns: datasets: the columns of the one or two sentences; empty: the columns of strings.
        skip_malformed: leave out lines with another number of columns, and examples that lack a sentence or
            a label (plain text and datasets).
        label_optional: whether a file may have no labels, as GLUE's test sets.
        unlabelled: read the sentences alone; a line of plain text has one or two of them.
    """

    corpus: str
    labels: tuple[str, ...] = ()
    regression: bool = False
    text_columns: tuple[str, ...] = ()
    skip_malformed: bool = False
    label_optional: bool = False
    unlabelled: bool = False

    @classmethod
    def for_model(
        cls, corpus: str, labels: tuple[str, ...], *, text_columns: tuple[str, ...] = ()
    ) -> ReadingOptions:
        """Return how to read what a model is measured on.

        Plain text has the model's classes, of which a small set may lack some.

        Args:
            corpus: its name.
            labels: the model's.
            text_columns: see above.
        """
        return cls(corpus, labels=labels if corpus == TEXT else (), text_columns=text_columns)
