"""``cmlm-kd choose``: the best of several trainings, by what their logs say of validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "name the best of several trainings, by their validation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="[NAME=]FILE",
        help="the --log-file of each training, or what it printed; the file's name without its ending stands "
        "for a missing NAME",
    )
    parser.add_argument(
        "--metric", required=True, help="as validation logs it: accuracy, f1, score, loss, ..."
    )
    parser.add_argument("--minimize", action="store_true", help="less is better, as of a loss")
    parser.add_argument("--best", type=int, default=1, metavar="N", help="name so many, best first")


def run(arguments: argparse.Namespace) -> None:
    """Print the names on standard output, and what each training reached on standard error."""
    import sys

    from cmlm_kd.evaluation.training_log import best_value

    reached: dict[str, float] = {}
    for given in arguments.logs:
        name, equals, file = given.partition("=")
        path = Path(file if equals else given)
        name = name if equals else path.stem
        if name in reached:
            raise UserError(f"two trainings are called {name!r}; name them: NAME=FILE NAME=FILE")
        reached[name] = best_value(path, arguments.metric, minimize=arguments.minimize)
    if not 0 < arguments.best <= len(reached):
        raise UserError(f"--best is {arguments.best}; it must be from 1 to {len(reached)}")
    ranked = sorted(
        reached, key=reached.__getitem__, reverse=not arguments.minimize
    )  # stable: ties go by order
    for name in ranked:
        print(f"{arguments.metric} {reached[name]:g}  {name}", file=sys.stderr)
    print(*ranked[: arguments.best])
