"""The corpora that are read as they are published: files, columns, classes, and a reader's choices."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cmlm_kd.errors import UserError

TEXT = "text"
"""Name of headerless files: ``text<TAB>label``, or ``text<TAB>text<TAB>label``."""

HUGGINGFACE = "huggingface"
"""Name of a directory that the datasets library saved on disk."""

GLUE_FILES = MappingProxyType({"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"})
SICK_FILES = MappingProxyType(
    {"train": "SICK_train.txt", "valid": "SICK_trial.txt", "test": "SICK_test_annotated.txt"}
)


@dataclass(frozen=True)
class CorpusFormat:
    """How a corpus is published.

    Attributes:
        name: what ``--corpus`` calls it.
        first: column of the first sentence.
        second: column of the second sentence; empty for single sentences.
        label: column of the class or score.
        classes: what the file says -> the class's name, in the usual order of a model's logits; empty for
            scores.
        files: name of a split -> its file; other splits are ``SPLIT.tsv``.
        columns: names of the columns of files without a header; empty where the first line has them.
        scores: lowest and highest score, for regression.
        metrics: what the corpus is measured by, best known first.
    """

    name: str
    first: str
    second: str = ""
    label: str = "label"
    classes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=lambda: GLUE_FILES)
    columns: tuple[str, ...] = ()
    scores: tuple[float, float] | None = None
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def is_regression(self) -> bool:
        """Whether examples have scores."""
        return self.scores is not None


_ENTAILMENT = {"entailment": "entailment", "not_entailment": "not_entailment"}
_THREE_WAY = {name: name for name in ("entailment", "neutral", "contradiction")}
_CORRELATIONS = ("pearson", "spearman")

CORPORA: Mapping[str, CorpusFormat] = {
    corpus.name: corpus
    for corpus in (
        CorpusFormat(
            "CoLA",
            "sentence",
            classes={"0": "unacceptable", "1": "acceptable"},
            columns=("source", "label", "mark", "sentence"),
            metrics=("matthews", "accuracy"),
        ),
        CorpusFormat("SST-2", "sentence", classes={"0": "negative", "1": "positive"}),
        CorpusFormat(
            "MRPC",
            "#1 String",
            "#2 String",
            label="Quality",
            classes={"0": "not_equivalent", "1": "equivalent"},
            metrics=("f1", "accuracy"),
        ),
        CorpusFormat(
            "STS-B", "sentence1", "sentence2", label="score", scores=(0.0, 5.0), metrics=_CORRELATIONS
        ),
        CorpusFormat(
            "QQP",
            "question1",
            "question2",
            label="is_duplicate",
            classes={"0": "not_duplicate", "1": "duplicate"},
            metrics=("f1", "accuracy"),
        ),
        CorpusFormat(
            "MNLI",
            "sentence1",
            "sentence2",
            label="gold_label",
            classes=_THREE_WAY,
            files={"train": "train.tsv", "valid": "dev_matched.tsv", "test": "test_matched.tsv"},
        ),
        CorpusFormat("QNLI", "question", "sentence", classes=_ENTAILMENT),
        CorpusFormat("RTE", "sentence1", "sentence2", classes=_ENTAILMENT),
        CorpusFormat("WNLI", "sentence1", "sentence2", classes={"0": "not_entailment", "1": "entailment"}),
        CorpusFormat(
            "SICK-E",
            "sentence_A",
            "sentence_B",
            label="entailment_judgment",
            classes={name.upper(): name for name in _THREE_WAY},
            files=SICK_FILES,
        ),
        CorpusFormat(
            "SICK-R",
            "sentence_A",
            "sentence_B",
            label="relatedness_score",
            scores=(1.0, 5.0),
            files=SICK_FILES,
            metrics=_CORRELATIONS,
        ),
    )
}
"""GLUE's tasks and SICK, by name."""


def class_names_of(name: str) -> Mapping[str, str] | None:
    """Return what the files of a published corpus call its classes -> the classes' names; None of others."""
    return CORPORA[name].classes if name in CORPORA else None


def positive_class(name: str, labels: Sequence[str]) -> int:
    """Return the position of the class whose F1 is measured: that which the files call 1, else the second.

    Args:
        name: of the corpus.
        labels: the classes in the order of a model's logits.
    """
    called_one = (class_names_of(name) or {}).get("1")
    return labels.index(called_one) if called_one in labels else 1


def corpus_format(name: str) -> CorpusFormat:
    """Return the format of a published corpus.

    Raises:
        UserError: if there is none of that name, with the closest ones.
    """
    if name in CORPORA:
        return CORPORA[name]
    known = [*CORPORA, TEXT, HUGGINGFACE]
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(lowered[match] for match in close)}? " if close else ""
    raise UserError(f"--corpus is {name!r}; {hint}known are {', '.join(known)}")


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
        pairs: with ``label_optional``, whether plain text has pairs of sentences; None: nobody knows.
    """

    corpus: str
    labels: tuple[str, ...] = ()
    regression: bool = False
    text_columns: tuple[str, ...] = ()
    skip_malformed: bool = False
    label_optional: bool = False
    unlabelled: bool = False
    pairs: bool | None = None

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
