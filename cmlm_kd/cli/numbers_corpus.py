"""``cmlm-kd numbers-corpus``: the embedded German-English corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = (
    "make a German-English corpus about numbers, dates, prices and quantities, without downloading anything"
)
_MOST = 10_000_000
"""Lines of a file; a corpus is drawn in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("directory", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give byte-identical files")
    parser.add_argument("--pairs", type=int, default=3000, help="parallel pairs to train on, at least 1")
    parser.add_argument("--valid", type=int, default=500, help="parallel pairs to validate on, at least 1")
    parser.add_argument("--test", type=int, default=500, help="parallel pairs to test on, at least 1")
    parser.add_argument(
        "--monolingual",
        type=int,
        default=30_000,
        help="lines of English without translation (mono.en), at least 1",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the corpus, unless it is there already."""
    from cmlm_kd.data.numbers import CorpusSizes, read_corpus_manifest, write_numbers_corpus
    from cmlm_kd.system.ranges import between, check_range

    for name in ("pairs", "valid", "test", "monolingual"):
        check_range(f"--{name}", getattr(arguments, name), between(1, _MOST), joint=", ")
    sizes = CorpusSizes(arguments.pairs, arguments.valid, arguments.test, arguments.monolingual)
    manifest = read_corpus_manifest(arguments.directory, arguments.seed, sizes)
    state = "already there"
    if manifest is None:
        manifest, state = write_numbers_corpus(arguments.directory, arguments.seed, sizes), "written"
    print(f"{arguments.directory}: {state} (seed {arguments.seed})")
    for split, count in (("train", sizes.pairs), ("valid", sizes.valid), ("test", sizes.test)):
        frames, clauses = manifest["frames"][split], manifest["clauses"][split]
        drawn = f"{count:,} pairs drawn from {frames:,} sentence frames"
        print(f"  {split}: {drawn} around {clauses} clauses of its own")
    print(f"  mono.en: {sizes.monolingual:,} lines of English without translation, of one or two sentences")
