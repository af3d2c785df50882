"""``cmlm-kd translate``: text in, text out, with any translator."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.cli.arguments import (
    add_device,
    add_engine,
    add_shard,
    chosen_device,
    chosen_engine,
    chosen_share,
)
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.api.translator import ModelChoice

HELP = "translate text with a model of fairseq, Hugging Face or CTranslate2"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="[KIND=]PATH",
        help="fairseq checkpoint (several, separated by colons, are an ensemble), Hugging Face directory or "
        "hub name, ONNX or CTranslate2 directory; KIND, where what is there does not tell: fairseq, "
        "encoder_decoder, language_model, onnx, ctranslate2",
    )
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="text, one sentence a line, plain or gzipped; -: standard input, answered as it comes",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="file to write; an unfinished translation is continued; -, and the default with --input -: "
        "standard output",
    )
    parser.add_argument(
        "--format",
        choices=["text", "jsonl"],
        default="text",
        help="with --input -: lines to write, of text or as objects with source, translation and score",
    )
    parser.add_argument(
        "--long-lines",
        choices=["refuse", "split"],
        default="refuse",
        help="with --input -: what becomes of a line that is longer than the model reads: split translates "
        "its sentences one by one",
    )
    parser.add_argument(
        "--data", type=Path, help="data-bin of a fairseq checkpoint; default: the one that it was trained on"
    )
    parser.add_argument(
        "--bpe",
        metavar="NAME[=FILE]",
        help="of a fairseq checkpoint whose data-bin 'cmlm-kd prepare' did not write: subword_nmt=CODES, "
        "sentencepiece=MODEL, or pieces for input that is cut already",
    )
    parser.add_argument(
        "--tokenizer", choices=["moses"], help="with --bpe: what the text was tokenized with before"
    )
    parser.add_argument("--source-language", help="language code that the model knows")
    parser.add_argument("--target-language", help="language code that the model knows")
    parser.add_argument(
        "--prompt",
        help="of a language model, with {source} and {target} (and {source_language}, {target_language}); "
        "default: its languages' names before both sides",
    )
    parser.add_argument(
        "--examples",
        metavar="PREFIX:SRC-TGT",
        help="pairs to show a language model first, such as shots:de-en",
    )
    parser.add_argument(
        "--via",
        choices=["ctranslate2"],
        help="convert the model first, in a temporary folder, and decode there",
    )
    parser.add_argument("--quantize", help="weights of CTranslate2: float32, int8, int16, float16, ...")
    _add_decoding(parser)
    _add_selection(parser)
    _add_shards(parser)
    add_device(parser)
    add_engine(parser.add_argument_group("on a cluster"))


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("choice among hypotheses")
    group.add_argument(
        "--pick",
        default="first",
        help="first (the model's best), all, bleu or chrf (against --reference), mbr-bleu or mbr-chrf "
        "(minimum Bayes risk among the hypotheses), scorer",
    )
    group.add_argument("--reference", type=Path, metavar="FILE", help="translation of each line of the input")
    group.add_argument(
        "--scorer",
        metavar="COMMAND",
        help="reads source, hypothesis and reference, separated by tabs, and prints a number a line; more is "
        "better",
    )
    group.add_argument(
        "--filter",
        nargs="*",
        metavar="NAME[=VALUE]",
        help="leave out pairs with an empty side or without an end, and those that these say: "
        "length-ratio[=3], copy[=3], repetition[=3], duplicates, score=LEAST, language[=CODE]",
    )
    group.add_argument(
        "--output-source", type=Path, metavar="FILE", help="write the source of each line of --output there"
    )
    group.add_argument(
        "--output-scores",
        type=Path,
        metavar="FILE",
        help="write all hypotheses there: number of the line, score and text, separated by tabs",
    )


def _add_shards(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("batches and shards")
    group.add_argument(
        "--max-tokens",
        type=int,
        help="source tokens per batch, padding included, at least 1; default: 4096, of CTranslate2 on a "
        "CPU 512",
    )
    group.add_argument("--shard-rows", type=int, default=2048, help="lines per shard, at least 1")
    add_shard(group, "translate", "write no output; the same command without it, or with --merge, writes it")
    group.add_argument(
        "--parts",
        type=Path,
        metavar="DIR",
        help="keep the shards there; default: OUTPUT.parts, until the output is written",
    )
    group.add_argument(
        "--merge", type=Path, nargs="+", metavar="DIR", default=[], help="take the shards of these folders"
    )


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
        "--length-penalty", type=float, default=1.0, help="more favours longer hypotheses, 0 to 100"
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
    from dataclasses import fields
    from functools import partial

    from cmlm_kd.api.translator import Decoding
    from cmlm_kd.data.translating.elsewhere import Elsewhere
    from cmlm_kd.data.translating.job import JobOptions, check_job, translate_file
    from cmlm_kd.data.translating.selection import Selection
    from cmlm_kd.models.translators.kinds import load_translator

    if str(arguments.input) == "-":
        _translate_stream(arguments)
        return
    if arguments.output is None or str(arguments.output) == "-":
        raise UserError("--output FILE is missing; standard output goes with --input -")
    for flag, default in (("format", "text"), ("long_lines", "refuse")):
        if getattr(arguments, flag) != default:
            raise UserError(f"--{flag.replace('_', '-')} goes with --input -, standard input; leave it out")
    engine = chosen_engine(arguments)
    device = chosen_device(arguments, arguments.model) if engine is None else "cpu"
    decoding = Decoding(**{field.name: getattr(arguments, field.name) for field in fields(Decoding)})
    options = JobOptions(
        arguments.input,
        arguments.parts,
        arguments.max_tokens,
        arguments.shard_rows,
        chosen_share(arguments),
        tuple(arguments.merge),
        device,
    )
    selection = Selection(
        arguments.output,
        arguments.output_source,
        arguments.output_scores,
        arguments.pick,
        arguments.reference,
        arguments.scorer,
        None if arguments.filter is None else tuple(arguments.filter),
        arguments.target_language,
    )
    check_job(decoding, options, selection)
    translator = load_translator(arguments.model, _choice(arguments, device), via=arguments.via)
    elsewhere = None
    if engine is not None:
        choice = _choice(arguments, engine.device)
        elsewhere = Elsewhere(engine, partial(load_translator, arguments.model, choice, via=arguments.via))
    manifest = translate_file(translator, decoding, options, selection, elsewhere)
    if manifest is None:
        print(f"{options.parts or f'{selection.output}.parts'}: shards {options.shard} are translated")
    else:
        _report(selection.output, manifest)


def _choice(arguments: argparse.Namespace, device: str) -> ModelChoice:
    from cmlm_kd.api.translator import ModelChoice

    return ModelChoice(
        (),
        arguments.data,
        source_language=arguments.source_language,
        target_language=arguments.target_language,
        prompt=arguments.prompt,
        examples=arguments.examples,
        bpe=arguments.bpe,
        tokenizer=arguments.tokenizer,
        device=device,
        quantize=arguments.quantize,
    )


def _translate_stream(arguments: argparse.Namespace) -> None:
    """Translate standard input as it comes."""
    from dataclasses import fields

    from cmlm_kd.api.translator import Decoding
    from cmlm_kd.deployment.loaded import LoadedTranslator
    from cmlm_kd.deployment.stream import translated_lines
    from cmlm_kd.models.translators.kinds import load_translator

    if arguments.output is not None and str(arguments.output) != "-":
        raise UserError(f"--output {arguments.output} needs --input FILE; standard input is written to -")
    for flag in _OF_FILES:
        if getattr(arguments, flag):
            raise UserError(f"--{flag.replace('_', '-')} goes with --input FILE, not with -; leave it out")
    if arguments.pick != "first" or arguments.n_best != 1:
        raise UserError("--pick and --n-best go with --input FILE, not with -; leave them out")
    decoding = Decoding(**{field.name: getattr(arguments, field.name) for field in fields(Decoding)})
    choice = _choice(arguments, chosen_device(arguments, arguments.model))
    loaded = LoadedTranslator(load_translator(arguments.model, choice, via=arguments.via))
    for line in translated_lines(
        loaded,
        sys.stdin.buffer,  # type: ignore[arg-type]
        decoding,
        as_json=arguments.format == "jsonl",
        long_texts=arguments.long_lines,
        max_tokens=arguments.max_tokens,
    ):
        print(line)


_OF_FILES = (
    *("reference", "scorer", "filter", "output_source", "output_scores", "shard", "parts", "merge"),
    *("engine", "workers", "worker_cpus", "worker_gpus", "ray_address"),
)
"""Flags that want a whole text."""


def _report(output: Path, manifest: dict[str, Any]) -> None:
    counts = manifest["counts"]
    print(f"{output}: {counts['written']:,} of {counts['lines']:,} lines by {manifest['model']}")
    if counts["empty"]:
        print(f"  {counts['empty']:,} are empty: the source is empty or too long, or the model says nothing")
    if counts["endless"]:
        print(f"  {counts['endless']:,} have no end: they were cut off at --max-length")
    for reason, count in counts.get("dropped", {}).items():
        if count:
            print(f"  {count:,} left out: {reason}")
