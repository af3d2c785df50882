"""``cmlm-kd translate``: text in, text out, with any translator."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.cli.arguments import add_device, chosen_device

HELP = "translate text with a model of fairseq, Hugging Face or CTranslate2"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="[KIND=]PATH",
        help="fairseq checkpoint (several, separated by colons, are an ensemble), Hugging Face directory or "
        "hub name, or CTranslate2 directory",
    )
    parser.add_argument(
        "--input", type=Path, required=True, help="text, one sentence a line, plain or gzipped"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="file to write; an unfinished translation is continued"
    )
    parser.add_argument(
        "--data", type=Path, help="data-bin of a fairseq checkpoint; default: the one that it was trained on"
    )
    _add_decoding(parser)
    parser.add_argument(
        "--max-tokens", type=int, default=4096, help="source tokens per batch, padding included, at least 1"
    )
    parser.add_argument("--shard-rows", type=int, default=2048, help="lines per shard, at least 1")
    add_device(parser)


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("decoding")
    group.add_argument("--beam", type=int, default=5, help="hypotheses that are followed, at least 1")
    group.add_argument(
        "--n-best", type=int, default=1, help="hypotheses of each source to choose among, at least 1"
    )
    group.add_argument(
        "--sampling", action="store_true", help="draw hypotheses instead of searching for the best"
    )
    group.add_argument("--top-k", type=int, help="draw among so many tokens, at least 1")
    group.add_argument(
        "--top-p", type=float, help="draw among tokens of this probability together, in (0, 1]"
    )
    group.add_argument("--temperature", type=float, default=1.0, help="of the model's distribution, above 0")
    group.add_argument("--seed", type=int, default=1, help="of the drawing, 0 or more")
    group.add_argument(
        "--length-penalty", type=float, default=1.0, help="more favours longer hypotheses, 0 or more"
    )
    group.add_argument(
        "--max-length",
        type=int,
        default=200,
        help="most target tokens, plus --max-length-ratio per source token",
    )
    group.add_argument("--max-length-ratio", type=float, default=0.0, help="see --max-length")


def run(arguments: argparse.Namespace) -> None:
    """Translate, and say what was written."""
    from cmlm_kd.api.translator import Decoding, ModelChoice
    from cmlm_kd.models.translators.kinds import load_translator
    from cmlm_kd.translation.job import JobOptions, translate_file

    decoding = Decoding(
        arguments.beam,
        arguments.n_best,
        arguments.sampling,
        arguments.top_k,
        arguments.top_p,
        arguments.temperature,
        arguments.seed,
        arguments.length_penalty,
        arguments.max_length,
        arguments.max_length_ratio,
    )
    options = JobOptions(arguments.input, arguments.output, arguments.max_tokens, arguments.shard_rows)
    choice = ModelChoice((), arguments.data, device=chosen_device(arguments))
    translator = load_translator(arguments.model, choice)
    manifest = translate_file(translator, decoding, options)
    counts = manifest["counts"]
    print(f"{options.output}: {counts['lines']:,} lines by {manifest['model']}")
    if counts["empty"]:
        print(f"  {counts['empty']:,} are empty: the source is empty or too long, or the model says nothing")
