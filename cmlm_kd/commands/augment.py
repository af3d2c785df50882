"""``cmlm-kd augment``: make a training corpus many times as large, for a teacher to label."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make many sentences, or pairs, of a training corpus, for a teacher to label"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags; probabilities and iterations are those of the BiLSTM paper."""
    parser.add_argument("data", type=Path, help="folder of the corpus, or a dataset saved on disk")
    parser.add_argument("--corpus", required=True, help="name of the corpus, as for --task classification_kd")
    parser.add_argument(
        "--output", type=Path, required=True, help="file to write, for --train-file of the same --corpus"
    )
    parser.add_argument("--train-file", default="", help="file to read, if not the corpus' own training set")
    parser.add_argument("--regression", action="store_true", help="text and datasets: the label is a score")
    parser.add_argument("--text-columns", default="", help="datasets: the one or two columns of sentences")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--iterations", type=int, help="how often an example is changed; default: 20, pairs 10"
    )
    parser.add_argument("--mask", type=float, default=0.1, help="probability that a word is hidden")
    parser.add_argument(
        "--replace",
        type=float,
        default=0.1,
        help="probability that a word is replaced by another of its part of speech",
    )
    parser.add_argument(
        "--ngram", type=float, default=0.25, help="probability that a sentence is cut to an n-gram"
    )
    parser.add_argument("--longest-ngram", type=int, default=5, help="most words of an n-gram")
    parser.add_argument(
        "--mask-word", default="[MASK]", help="a hidden word as the teacher spells it; <mask> for a RoBERTa"
    )
    parser.add_argument(
        "--tagger",
        default="hanta-en",
        help="parts of speech: hanta-en, hanta-de, or MODULE:FUNCTION from a list of words to a list of tags",
    )
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal files")


def run(arguments: argparse.Namespace) -> None:
    """Write the corpus and what was made from it, and say how much that is."""
    from cmlm_kd.augmentation.corpus import augment_corpus
    from cmlm_kd.augmentation.rules import Rules
    from cmlm_kd.classification import (
        HUGGINGFACE,
        TEXT,
        ReadingOptions,
        read_examples,
        write_examples,
    )
    from cmlm_kd.errors import UserError

    rules = Rules(
        arguments.mask, arguments.replace, arguments.ngram, arguments.longest_ngram, arguments.mask_word
    )
    if arguments.output.exists() and not arguments.overwrite:
        raise UserError(f"--output {arguments.output} exists; pass --overwrite, or give another file")
    options = ReadingOptions(
        arguments.corpus,
        regression=arguments.regression,
        text_columns=tuple(filter(None, arguments.text_columns.split(","))),
    )
    examples = read_examples(arguments.data, "train", options, arguments.train_file)
    corpus = augment_corpus(examples, rules, arguments.tagger, arguments.iterations, arguments.seed)
    # A saved dataset is written as text: its columns are no table's.
    written_as = TEXT if arguments.corpus == HUGGINGFACE else arguments.corpus
    write_examples(arguments.output, written_as, corpus.examples)
    kind = "sentences" if examples.second is None else "pairs"
    print(
        f"{arguments.output}: {corpus.original:,} {kind} of {examples.source} and {corpus.new:,} new ones"
        + ("" if written_as == arguments.corpus else f"; read it with --corpus {written_as}")
    )
    print(
        f"  {corpus.tried:,} tried, {corpus.tried - corpus.new:,} of them left out because they were there "
        "before; labels are those of the examples they were made from: a teacher should judge them anew"
    )
