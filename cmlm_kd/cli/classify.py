"""``cmlm-kd classify``: texts through a FastBERT, each as deep as it needs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cmlm_kd.cli.arguments import add_device, add_output, check_output, chosen_device, print_or_write

HELP = "classify texts with a FastBERT: inputs leave after the first layer that is certain of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "texts",
        nargs="?",
        default="-",
        metavar="FILE",
        help="lines of text, or of text<TAB>text, plain or gzipped; -: standard input",
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help="what 'cmlm-kd export' wrote of --arch fastbert, or its checkpoint",
    )
    parser.add_argument(
        "--speed",
        type=float,
        help="threshold in [0, 1] of the uncertainty at which a text leaves: 0 runs all layers, 1 the first "
        "alone; default: the calibrated one, or 0.5",
    )
    parser.add_argument("--format", choices=["tsv", "jsonl"], default="tsv", help="lines to write")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long for the model")
    parser.add_argument("--batch-size", type=int, default=32, help="texts at once, 1 or more")
    add_device(parser)
    parser.add_argument("--tokenizer", help="of a checkpoint whose --bert directory is gone")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read all texts, classify them, write a line for each in their order."""
    from cmlm_kd.early_exit.exits import check_speed
    from cmlm_kd.early_exit.lines import json_lines, parse_texts, tsv_lines
    from cmlm_kd.early_exit.prediction import classify
    from cmlm_kd.models.loading import load_early_exits
    from cmlm_kd.system.text import decoded_lines, read_lines

    check_output(arguments)
    device = chosen_device(arguments)
    model = load_early_exits(arguments.model, arguments.tokenizer)
    if arguments.speed is not None:
        check_speed(model, arguments.speed)  # before waiting for standard input
    if arguments.texts == "-":
        place = "standard input"
        lines = list(decoded_lines(sys.stdin.buffer, place))
    else:
        place, lines = arguments.texts, read_lines(Path(arguments.texts))
    first, second = parse_texts(lines, place)
    classified = classify(
        model.to(device),
        first,
        second,
        speed=arguments.speed,
        batch_size=arguments.batch_size,
        truncate=arguments.truncate,
        device=device,
        place=place,
    )
    written = (json_lines if arguments.format == "jsonl" else tsv_lines)(classified, model.labels)
    text = "".join(f"{line}\n" for line in written)
    print_or_write(text, arguments)
