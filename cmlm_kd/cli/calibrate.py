"""``cmlm-kd calibrate``: the threshold at which a FastBERT reaches an accuracy, or a speed-up."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.cli.arguments import add_device, chosen_device
from cmlm_kd.errors import UserError
from cmlm_kd.system.text import comma_separated

if TYPE_CHECKING:
    from cmlm_kd.data.classification import Examples

HELP = "choose the threshold of a FastBERT's early exits on held-out data, and note it in the model"
PLOT = "calibration.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="what 'cmlm-kd export' wrote of a FastBERT")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the corpus")
    parser.add_argument("--corpus", required=True, help="as for --task classification_kd")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--target-accuracy", type=float, metavar="A", help="the fastest threshold of at least this, in [0, 1]"
    )
    goal.add_argument(
        "--target-speedup",
        type=float,
        metavar="X",
        help="the most accurate threshold that needs at most 1/X of all layers' operations, above 0",
    )
    parser.add_argument(
        "--hold-out",
        type=float,
        default=0.1,
        help="share of the training set to choose on, in (0, 1), as it was held out of training; "
        "0 with --split",
    )
    parser.add_argument("--hold-out-seed", type=int, default=1, help="which examples it takes, 0 or more")
    parser.add_argument(
        "--split", default="train", help="choose on this split or file of the corpus, with --hold-out 0"
    )
    parser.add_argument("--text-columns", default="", help="columns of the texts, by commas (huggingface)")
    parser.add_argument("--batch-size", type=int, default=32, help="texts at once, 1 or more")
    add_device(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help=f"picture to write; default: {PLOT} in the model's directory"
    )


def run(arguments: argparse.Namespace) -> None:
    """Choose, write, and print what was chosen."""
    from cmlm_kd.data.classification.corpora import class_names_of
    from cmlm_kd.early_exit.calibration import calibrate_accuracy, calibrate_speedup
    from cmlm_kd.early_exit.choices import at_threshold, choices_table, fixed_exits, measure_exits
    from cmlm_kd.early_exit.exits import check_distilled
    from cmlm_kd.early_exit.plot import write_exit_plot
    from cmlm_kd.models.fastbert.directory import load_fastbert, write_speed
    from cmlm_kd.system.files import check_file_place

    if not arguments.model.is_dir():
        raise UserError(
            f"{arguments.model} is no directory, in which the threshold could be noted; give what 'cmlm-kd "
            "export' writes of the checkpoint"
        )
    check_file_place(arguments.plot or arguments.model / PLOT)
    device = chosen_device(arguments)
    model = load_fastbert(arguments.model).to(device)
    check_distilled(model)
    examples = _held_out(arguments, model.labels)
    measured = measure_exits(
        model,
        examples,
        name=str(arguments.model),
        values=class_names_of(arguments.corpus),
        batch_size=arguments.batch_size,
        device=device,
    )
    curve = measured.curve()
    if arguments.target_accuracy is not None:
        goal, chosen = "target_accuracy", calibrate_accuracy(curve, arguments.target_accuracy)
    else:
        goal, chosen = "target_speedup", calibrate_speedup(curve, arguments.target_speedup)
    depths = fixed_exits(measured)
    choice = at_threshold(measured, chosen.threshold, "calibrated")
    write_exit_plot(arguments.plot or arguments.model / PLOT, curve, choice, depths)
    noted = {
        goal: getattr(arguments, goal),
        "accuracy": chosen.accuracy,
        "speedup": chosen.speedup,
        "examples": len(examples),
        "source": examples.source,
    }
    write_speed(arguments.model, chosen.threshold, noted)
    print(f"{len(examples):,} held-out examples of {examples.source}\n")
    print(choices_table([at_threshold(measured, 0.0, "all layers"), choice]))
    print(f"\n{arguments.model}: --speed {chosen.threshold:.6g} noted as the model's own")


def _held_out(arguments: argparse.Namespace, labels: tuple[str, ...]) -> Examples:
    from cmlm_kd.data.classification import ReadingOptions, hold_out, read_examples

    options = ReadingOptions.for_model(
        arguments.corpus, labels, text_columns=comma_separated(arguments.text_columns)
    )
    examples = read_examples(arguments.data, arguments.split, options)
    if arguments.hold_out == 0.0:
        return examples
    if arguments.split != "train":
        raise UserError(
            f"--hold-out {arguments.hold_out:g} takes a share of the training set, not of --split "
            f"{arguments.split}; pass --hold-out 0 to choose on all of it"
        )
    return hold_out(examples, arguments.hold_out, arguments.hold_out_seed)[1]
