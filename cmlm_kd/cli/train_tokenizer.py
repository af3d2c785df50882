"""``cmlm-kd train-tokenizer``: a sentencepiece unigram tokenizer of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a sentencepiece unigram tokenizer and write it as a Hugging Face directory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--input",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="plain text, one sentence per line (or .gz)",
    )
    parser.add_argument(
        "--vocab-size", type=int, required=True, help="pieces, the five special ones included"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument(
        "--character-coverage",
        type=float,
        default=1.0,
        help="share of the characters that get a piece, in (0, 1]; 0.9995 for languages with very many",
    )
    parser.add_argument(
        "--split-digits",
        action="store_true",
        help="make every digit a piece, so that numbers are copied digit by digit",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train and write the tokenizer."""
    from cmlm_kd.system.files import check_new_directory
    from cmlm_kd.tokenization import training

    check_new_directory(arguments.output)
    lines = training.read_training_text(arguments.input)
    options = training.TokenizerOptions(
        arguments.vocab_size, arguments.character_coverage, arguments.split_digits
    )
    tokenizer = training.train_tokenizer(lines, options)
    training.save_tokenizer(tokenizer, arguments.output)
    parts = list(training.short_lines(lines))
    pieces = sum(len(ids) for ids in tokenizer(parts, add_special_tokens=False)["input_ids"])
    words = sum(len(line.split()) for line in lines)
    print(f"{arguments.output}: {len(tokenizer):,} pieces, {pieces / words:.2f} a word, {len(lines):,} lines")
