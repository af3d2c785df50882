"""``cmlm-kd compare-seeds``: runs that differ in their seed: means, spreads and significance."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "compare classifiers trained with several seeds each: mean, spread, significance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "results",
        type=Path,
        metavar="FILE",
        help="what 'cmlm-kd evaluate --format json' wrote of models called SYSTEM@SEED, such as alone@1",
    )
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR", help="what its --predictions wrote"
    )
    parser.add_argument(
        "--baseline", required=True, metavar="SYSTEM", help="compare the others with this one"
    )
    parser.add_argument("--metric", help="what is compared; default: the first that was measured")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="what to print")


def run(arguments: argparse.Namespace) -> None:
    """Read, compare, print."""
    import json

    from cmlm_kd.evaluation.differences import verdict
    from cmlm_kd.evaluation.seeds import comparison_table, differences, read_runs

    runs = read_runs(arguments.results, arguments.predictions)
    metric = arguments.metric or next(iter(runs[0].metrics))
    found = differences(runs, arguments.baseline, metric)
    if arguments.format == "json":
        compared = {name: value.to_document() if value else None for name, value in found.items()}
        print(
            json.dumps({"metric": metric, "baseline": arguments.baseline, "differences": compared}, indent=2)
        )
        return
    verdicts = [verdict(name, arguments.baseline, metric, value) for name, value in found.items()]
    print("\n".join([comparison_table(runs), "", "± standard deviation over the runs", *verdicts]))
