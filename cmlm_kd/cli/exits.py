"""``cmlm-kd exits``: accuracy and speed-up of a FastBERT's early exits on a labelled set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.cli.arguments import add_device, add_output, check_output, chosen_device, print_or_write
from cmlm_kd.system.text import comma_separated

if TYPE_CHECKING:
    from cmlm_kd.data.classification import Examples

HELP = "accuracy and speed-up of a FastBERT at thresholds, and beside them of leaving after a fixed layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="what 'cmlm-kd export' wrote of a FastBERT, or its checkpoint",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the corpus")
    parser.add_argument("--corpus", required=True, help="as for --task classification_kd")
    parser.add_argument("--split", default="valid", help="train, valid, test, or the name of another file")
    parser.add_argument(
        "--speed", type=float, nargs="+", default=[0.1, 0.5, 0.8], help="thresholds, each in [0, 1]"
    )
    parser.add_argument(
        "--plain",
        type=Path,
        metavar="PATH",
        help="the fine-tuned encoder without branches, to compare with: a checkpoint or a directory",
    )
    parser.add_argument("--text-columns", default="", help="columns of the texts, by commas (huggingface)")
    parser.add_argument("--batch-size", type=int, default=32, help="texts at once, 1 or more")
    add_device(parser)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="picture to write")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write a page for browsers: the curve, and where inputs leave at each threshold",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text", help="what to print")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure all layers once, print what follows from it."""
    import json

    from cmlm_kd.data.classification.corpora import class_names_of
    from cmlm_kd.early_exit.choices import all_layers, at_threshold, choices_table, fixed_exits, measure_exits
    from cmlm_kd.early_exit.exits import check_distilled, check_speed
    from cmlm_kd.early_exit.plot import write_exit_plot
    from cmlm_kd.early_exit.prediction import DEFAULT_SPEED
    from cmlm_kd.models.loading import load_early_exits, load_student
    from cmlm_kd.models.prediction import predict_logits
    from cmlm_kd.system.files import written_aside, written_together

    check_output(arguments)
    device = chosen_device(arguments)
    model = load_early_exits(arguments.model).to(device)
    check_distilled(model)
    for speed in arguments.speed:
        check_speed(model, speed)
    examples = _examples(arguments, model.labels)
    measured = measure_exits(
        model,
        examples,
        name=str(arguments.model),
        values=class_names_of(arguments.corpus),
        batch_size=arguments.batch_size,
        device=device,
    )
    thresholds = [at_threshold(measured, speed) for speed in arguments.speed]
    if model.speed is not None:
        thresholds.append(at_threshold(measured, model.speed, "calibrated"))
    depths = fixed_exits(measured)
    choices = [*thresholds, *depths]
    if arguments.plain is not None:
        plain: Any = load_student(arguments.plain)
        logits = predict_logits(plain.to(device), examples, arguments.batch_size, device)
        choices.insert(0, all_layers(measured, logits, plain.labels, str(arguments.plain)))
    marked = thresholds[-1] if thresholds else at_threshold(measured, DEFAULT_SPEED)
    if arguments.html is not None:
        from cmlm_kd.evaluation.page.exits_page import exits_page

        page = exits_page(
            measured.curve(), choices, marked, source=examples.source, signature=model.signature
        )
    if arguments.format == "json":
        document = {
            "examples": len(examples),
            "kd_signature": model.signature,
            "choices": [choice.to_document() for choice in choices],
        }
        text = json.dumps(document, indent=2) + "\n"
    else:
        text = f"{len(examples):,} examples of {examples.source}\n\n{choices_table(choices)}\n"
        text += f"\n{model.signature}\n" if model.signature else ""
    with written_together():
        if arguments.plot is not None:
            write_exit_plot(arguments.plot, measured.curve(), marked, depths)
        if arguments.html is not None:
            with written_aside(arguments.html) as partial:
                partial.write_text(page, encoding="utf-8", errors="replace")
        print_or_write(text, arguments)


def _examples(arguments: argparse.Namespace, labels: tuple[str, ...]) -> Examples:
    from cmlm_kd.data.classification import ReadingOptions, read_examples

    options = ReadingOptions.for_model(
        arguments.corpus, labels, text_columns=comma_separated(arguments.text_columns)
    )
    return read_examples(arguments.data, arguments.split, options)
