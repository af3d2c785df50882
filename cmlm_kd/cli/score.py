"""``cmlm-kd score``: corpus scores of one or more systems, with signatures and significance."""

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import (
    add_clusters,
    add_output,
    baseline_among,
    check_output,
    chosen_clusters,
    print_or_write,
    without_lone_seeds,
)
from cmlm_kd.errors import UserError

HELP = "score detokenised output of one or more systems and seeds: BLEU, chrF, TER, ROUGE, significance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--hypothesis",
        metavar="[NAME=]FILE",
        nargs="+",
        required=True,
        help="output of each system; its name is the file's where none is given. NAME@1=FILE NAME@2=FILE are "
        "runs of one system that differ in their seed",
    )
    parser.add_argument(
        "--reference",
        metavar="FILE",
        nargs="+",
        required=True,
        help="raw references, one or more for each line",
    )
    parser.add_argument(
        "--from-generate",
        action="store_true",
        help="the hypotheses are what fairseq-generate or fairseq-interactive printed; tokens are joined",
    )
    parser.add_argument("--baseline", metavar="NAME", help="test every other system against this one")
    add_clusters(parser)
    parser.add_argument(
        "--paired-bs-n", type=int, default=1000, metavar="N", help="resamples of the bootstrap"
    )
    parser.add_argument("--seed", type=int, default=12345, help="seed of the bootstrap, at least 1")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=("bleu", "chrf", "ter"),
        default=["bleu", "chrf", "ter"],
        help="of translations",
    )
    parser.add_argument("--rouge", action="store_true", help="also ROUGE-1, -2 and -L, for English summaries")
    parser.add_argument("--lowercase", action="store_true", help="ignore case")
    parser.add_argument("--tokenize", default="13a", help="sacreBLEU's tokenizer for BLEU")
    parser.add_argument("--chrf-word-order", type=int, default=0, metavar="N", help="2 makes chrF++ of chrF")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print")
    add_output(parser)


def run(arguments: argparse.Namespace) -> None:
    """Read, score, print."""
    import json

    from cmlm_kd.evaluation.generation import read_hypotheses, refuse_generated
    from cmlm_kd.evaluation.translation import ScoreSettings, evaluate, read_references
    from cmlm_kd.system.text import read_lines

    check_output(arguments)
    settings = ScoreSettings(
        metrics=(*dict.fromkeys(arguments.metrics), *(["rouge"] if arguments.rouge else [])),
        lowercase=arguments.lowercase,
        tokenize=arguments.tokenize,
        chrf_word_order=arguments.chrf_word_order,
        bootstrap_samples=arguments.paired_bs_n,
        seed=arguments.seed,
    )
    references = read_references([Path(path) for path in arguments.reference])
    systems = {}
    for name, path in without_lone_seeds(_named_files(arguments.hypothesis)).items():
        if arguments.from_generate:
            systems[name] = read_hypotheses(path, len(references[0]))
        else:
            systems[name] = read_lines(path)
            refuse_generated(path, systems[name])
    clusters = chosen_clusters(arguments)
    baseline = arguments.baseline and baseline_among(systems, arguments.baseline)
    evaluation = evaluate(systems, references, settings, baseline, clusters)
    if arguments.format == "json":
        text = json.dumps(evaluation.to_document(), indent=2, ensure_ascii=False) + "\n"
    else:
        text = evaluation.to_text()
    print_or_write(text, arguments)


def _named_files(values: list[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.partition("=")
        path = Path(file if equals else value)
        name = name if equals else path.name
        if name in named:
            raise UserError(f"two systems are called {name!r}; name them: --hypothesis NAME=FILE NAME=FILE")
        named[name] = path
    return named
