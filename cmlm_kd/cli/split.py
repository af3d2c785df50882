"""``cmlm-kd split``: a training set and the share of it that is held out, as a corpus of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.system.text import comma_separated

UNLABELLED_FILE = "text.tsv"
HELP = "write what --hold-out trains and validates on as a corpus of its own, to augment or to look at"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("data", type=Path, help="folder of the corpus, or a dataset saved on disk")
    parser.add_argument("--corpus", required=True, help="name of the corpus, as for --task classification_kd")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--train-file", default="", help="file to read, if not the corpus' own training set")
    parser.add_argument("--hold-out", type=float, default=0.1, help="share to validate on, in (0, 1)")
    parser.add_argument("--hold-out-seed", type=int, default=1, help="which examples it takes, 0 or more")
    parser.add_argument(
        "--labelled",
        type=int,
        metavar="N",
        help="so many examples keep their labels, those that are held out among them; "
        f"{UNLABELLED_FILE} has the sentences of all but the latter, for teachers",
    )
    parser.add_argument("--regression", action="store_true", help="text and datasets: the label is a score")
    parser.add_argument("--text-columns", default="", help="datasets: the one or two columns of sentences")


def run(arguments: argparse.Namespace) -> None:
    """Write the parts, those with labels under the names that the corpus gives its training and dev set."""
    from cmlm_kd.data.classification import (
        CORPORA,
        HUGGINGFACE,
        TEXT,
        ReadingOptions,
        hold_out,
        read_examples,
        with_labels,
        without,
        write_examples,
    )
    from cmlm_kd.data.classification.corpora import GLUE_FILES
    from cmlm_kd.system.files import check_new_directory, directory_written_aside

    check_new_directory(arguments.output)
    options = ReadingOptions(
        arguments.corpus,
        regression=arguments.regression,
        text_columns=comma_separated(arguments.text_columns),
    )
    examples = read_examples(arguments.data, "train", options, arguments.train_file)
    seed = arguments.hold_out_seed
    few = examples if arguments.labelled is None else with_labels(examples, arguments.labelled, seed)
    kept, held = hold_out(few, arguments.hold_out, seed)
    text = None if few is examples else without(examples, held)
    written_as = TEXT if arguments.corpus == HUGGINGFACE else arguments.corpus
    files = CORPORA[written_as].files if written_as in CORPORA else GLUE_FILES
    with directory_written_aside(arguments.output) as folder:
        write_examples(folder / files["train"], written_as, kept)
        if text is not None:
            write_examples(folder / UNLABELLED_FILE, written_as, text, labelled=False)
        write_examples(folder / files["valid"], written_as, held)
    print(
        f"{arguments.output}: {len(kept):,} examples in {files['train']}, {len(held):,} in {files['valid']}"
        + ("" if text is None else f", {len(text):,} without labels in {UNLABELLED_FILE}")
        + ("" if written_as == arguments.corpus else f"; read it with --corpus {written_as}")
    )
