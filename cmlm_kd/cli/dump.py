"""``cmlm-kd dump``: soft targets of a teacher, or several, for every target position, written to a store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.cli.arguments import (
    add_device,
    add_engine,
    add_shard,
    chosen_device,
    chosen_engine,
    chosen_share,
)

if TYPE_CHECKING:
    from cmlm_kd.store import Manifest

HELP = "write the soft targets of a teacher: a C-MLM, translators, or the mean of several"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("data", type=Path, help="data-bin of 'cmlm-kd prepare'")
    parser.add_argument(
        "--teacher",
        nargs="+",
        required=True,
        metavar="[KIND=]PATH",
        help="checkpoint of 'fairseq-train --task cmlm', or an exported teacher; checkpoint of a translator "
        "with the same dictionaries; Hugging Face directory of an encoder-decoder or a language model; "
        "several: the mean of their probabilities; KIND, where what is there does not tell: cmlm, fairseq, "
        "encoder_decoder, language_model, knn",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        metavar="W",
        help="weight of each of several teachers, above 0; default: the same for all",
    )
    parser.add_argument(
        "--folds",
        action="store_true",
        help="the teachers are those of trainings with --fold 0/N to N-1/N: each row is written by the one "
        "that has not seen it",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="store to write; an unfinished one is continued"
    )
    add_shard(parser, "write", "no whole store; 'cmlm-kd merge' makes one of all workers' shards")
    parser.add_argument(
        "--parts",
        type=Path,
        metavar="DIR",
        help="where --shard writes; default: OUTPUT.parts/I-of-N, until they are merged",
    )
    parser.add_argument(
        "--source-language", help="code or name by which a model of many languages knows the source"
    )
    parser.add_argument(
        "--target-language", help="code or name by which a model of many languages knows the target"
    )
    parser.add_argument(
        "--prompt", help="template of a language model's prompt, with {source} in it; as in 'translate'"
    )
    parser.add_argument(
        "--examples", metavar="PREFIX:SRC-TGT", help="pairs that a language model is shown first"
    )
    parser.add_argument("--split", default="train", help="split to read")
    parser.add_argument(
        "--topk",
        type=int,
        default=8,
        help="entries to keep for each position, 1 to the size of the dictionary",
    )
    parser.add_argument(
        "--tail-temperatures",
        type=float,
        nargs="+",
        default=[1.0, 10.0],
        help="temperatures at which the log-mass outside the top k is kept, one or more, each above 0",
    )
    parser.add_argument(
        "--stride", type=int, default=7, help="distance of the masked positions of a C-MLM's pass, at least 1"
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=4096,
        help="teacher positions per batch, padding included, at least 1",
    )
    parser.add_argument("--shard-rows", type=int, default=4096, help="pairs per shard, at least 1")
    parser.add_argument("--bf16-autocast", action="store_true", help="compute in bfloat16")
    add_device(parser)
    add_engine(parser.add_argument_group("on a cluster"))


_TOO_LONG = "exceed the teacher's positions"


def run(arguments: argparse.Namespace) -> None:
    """Dump, and say what the store holds."""
    from cmlm_kd.api.next_tokens import TeacherOptions
    from cmlm_kd.errors import UserError
    from cmlm_kd.store.merging import part_of
    from cmlm_kd.system.files import check_new_directory
    from cmlm_kd.teachers.dump import TeacherChoice, dump
    from cmlm_kd.teachers.shards import DumpOptions

    engine, share = chosen_engine(arguments), chosen_share(arguments)
    if arguments.parts is not None and share is None:
        raise UserError("--parts is where --shard I/N writes; give both, or neither")
    output = arguments.output if share is None else arguments.parts or part_of(arguments.output, share)
    check_new_directory(output, "is a file", "give a directory", in_the_way=lambda entry: False)
    options = DumpOptions(
        topk=arguments.topk,
        tail_temperatures=tuple(arguments.tail_temperatures),
        stride=arguments.stride,
        max_tokens=arguments.max_tokens,
        bf16_autocast=arguments.bf16_autocast,
        shard_rows=arguments.shard_rows,
        device=chosen_device(arguments) if engine is None else "cpu",
        shard=share,
    )
    weights = None if arguments.weights is None else tuple(arguments.weights)
    names = ("source_language", "target_language", "prompt", "examples")
    loading = TeacherOptions(**{name: getattr(arguments, name) for name in names})
    choice = TeacherChoice(tuple(arguments.teacher), weights, arguments.folds, loading)
    manifest = dump(arguments.data, arguments.split, choice, output, options, engine)
    if share is None:
        print_contents(output, manifest)
    else:
        print(
            f"{output}: shards {share} are written ({len(manifest.shards)} of {len(manifest.header.plan())})"
        )


def print_contents(store: Path, manifest: Manifest) -> None:
    """Say what a complete store holds."""
    from cmlm_kd.store.manifest import TEACHER_KIND

    print(
        f"{store}: {manifest.header.rows:,} pairs, {manifest.tokens:,} positions, "
        f"{manifest.size / max(manifest.tokens, 1):.1f} bytes each"
    )
    without = manifest.rows_without_teacher
    if without:
        carried = TEACHER_KIND in manifest.header.settings
        why = "are too long for the teacher or spelled otherwise by it" if carried else _TOO_LONG
        print(f"  {without:,} pairs {why}: the student trains on their hard labels")
    if not manifest.tokens:
        print(
            "warning: the teacher reads none of these pairs, so that there is nothing to learn from it; give "
            "another, or data in the spelling that it knows",
            file=sys.stderr,
        )
