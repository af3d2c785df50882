"""``cmlm-kd measure``: size on disk, BLEU, chrF and speed of translators in one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import add_output, check_output, named_models, print_or_write
from cmlm_kd.errors import UserError

HELP = "compare exported translators: size on disk, BLEU, chrF, sentences a second"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="[NAME=]PATH",
        help="what 'cmlm-kd export' wrote of translators, or checkpoints; the others are compared with the "
        "first",
    )
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE", help="sentences, one a line, plain or gzipped"
    )
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="FILE", help="the translation of each"
    )
    parser.add_argument("--beam", type=int, default=1, help="of the search, at least 1")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each translates all, in turn; at least 1"
    )
    parser.add_argument("--threads", type=int, default=1, help="of each model, at least 1")
    parser.add_argument("--format", choices=["md", "json"], default="md", help="what to write")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Translate in turn, and write the table."""
    import json
    import os

    import torch

    from cmlm_kd.api.translator import Decoding
    from cmlm_kd.deployment.loaded import load
    from cmlm_kd.deployment.measuring import markdown, measure
    from cmlm_kd.evaluation.translation import read_references
    from cmlm_kd.system.environment import describe_environment
    from cmlm_kd.system.ranges import AT_LEAST_ONE, check_range
    from cmlm_kd.system.text import read_lines

    check_output(arguments)
    for name in ("rounds", "threads"):
        check_range(f"--{name}", getattr(arguments, name), AT_LEAST_ONE)
    decoding = Decoding(beam=arguments.beam)
    sources, [references] = read_lines(arguments.input), read_references([arguments.reference])
    if len(sources) != len(references):
        raise UserError(
            f"--reference {arguments.reference} has {len(references):,} lines, {arguments.input} "
            f"{len(sources):,}; give the translation of each line"
        )
    torch.set_num_threads(arguments.threads)  # of every runtime: each takes torch's number
    models = {}
    for name, path in named_models(arguments.model):
        models[name] = (Path(path), load(path, task="translation"))
    load_before = round(os.getloadavg()[0], 1)  # of others
    found = measure(models, sources, references, decoding, arguments.rounds)
    machine = {
        **describe_environment(),
        **{"threads": arguments.threads, "beam": arguments.beam, "load": load_before},
    }
    if arguments.format == "json":
        document = {
            "machine": machine,
            "bytes": dict(found.bytes),
            "seconds": {name: list(values) for name, values in found.seconds.items()},
            **found.scores.to_document(),
        }
        print_or_write(json.dumps(document, indent=2, ensure_ascii=False) + "\n", arguments)
        return
    said = ", ".join(f"{name} {value}" for name, value in machine.items())
    print_or_write(f"{markdown(found)}{said}\n", arguments)
