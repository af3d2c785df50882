"""``cmlm-kd verify``: a store checked from end to end."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "check every byte and value of a store, and that it belongs to a data-bin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("store", type=Path, metavar="STORE", help="directory that 'cmlm-kd dump' wrote")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA_BIN",
        help="data-bin that the store should belong to; also prints how often the teacher was right",
    )
    parser.add_argument("--split", default="train", help="split of the data-bin")
    parser.add_argument(
        "--source-lang", "-s", help="source language; default: as the data-bin's file names say"
    )
    parser.add_argument(
        "--target-lang", "-t", help="target language; default: as the data-bin's file names say"
    )


def run(arguments: argparse.Namespace) -> None:
    """Verify and print one summary."""
    from cmlm_kd.store import Corpus, SoftTargetStore, reference_accuracy, verify_store
    from cmlm_kd.store.corpus import infer_languages, open_pair

    corpus = target = None
    if arguments.data is not None:
        _verify_databin(arguments.data)
        languages = (arguments.source_lang, arguments.target_lang)
        if None in languages:
            languages = infer_languages(arguments.data, arguments.split)
        corpus = Corpus.of_databin(arguments.data, arguments.split, *languages)
        _, target = open_pair(arguments.data, arguments.split, *languages)
    manifest = verify_store(arguments.store, corpus)
    header = manifest.header
    temperatures = ", ".join(f"{temperature:g}" for temperature in header.tail_temperatures)
    print(
        f"{arguments.store}: every checksum and value is right"
        + (f", it belongs to {arguments.data}" if corpus else "")
    )
    print(
        f"  {header.rows:,} sentences ({manifest.rows_without_teacher:,} without a teacher row), "
        f"{manifest.tokens:,} tokens, k {header.k}, tail at T = {temperatures}"
    )
    print(
        f"  {len(manifest.shards)} shards, {manifest.size / 1e6:,.1f} MB, "
        f"{manifest.size / max(manifest.tokens, 1):.1f} bytes per token"
    )
    print(
        f"  store {manifest.signature}, teacher {header.teacher_hash[:6]}, dictionary "
        f"{header.dictionary_hash[:6]}, corpus {header.corpus_hash[:6]}"
    )
    if target is not None:
        best, any_of_k = reference_accuracy(SoftTargetStore.open(arguments.store), target)
        print(
            f"  the reference's token is the teacher's best entry at {best:.1%} of the tokens, one of its "
            f"{header.k} at {any_of_k:.1%}"
        )


def _verify_databin(data: Path) -> None:
    """Read every byte of a data-bin that 'cmlm-kd prepare' wrote; another has nothing to compare it with."""
    from cmlm_kd.data.translation.integrity import check_databin
    from cmlm_kd.data.translation.manifest import PREPARE_MANIFEST, load_manifest

    if (data / PREPARE_MANIFEST).is_file():
        check_databin(data, load_manifest(data), whole=True)
