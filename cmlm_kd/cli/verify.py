"""``cmlm-kd verify``: a store, or another directory of ours, checked from end to end."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmlm_kd.errors import UserError

HELP = "check every byte and value of a store, and that it belongs to a data-bin; or of other directories"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "store",
        type=Path,
        metavar="DIR",
        help="store of 'cmlm-kd dump'; or a data-bin, a teacher cache, tokenised text, or an exported "
        "directory with checksums, of which every file is compared",
    )
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
    other = _verify_other(arguments.store)
    if other is not None:
        if arguments.data is not None:
            raise UserError(f"{arguments.store} is {other}; --data goes with a store: leave it out")
        print(f"{arguments.store}: {other}, every byte is as it was written")
        return
    _verify_store(arguments)


def _verify_other(path: Path) -> str | None:
    """Check a directory of another kind and return what it is; None for a store, or what is none of ours."""
    from cmlm_kd.data.text.corpus import TokenizedCorpus, is_tokenized
    from cmlm_kd.data.translation.manifest import PREPARE_MANIFEST
    from cmlm_kd.models.cmlm_loading import DESCRIPTION, verify_teacher
    from cmlm_kd.models.export_checksums import CHECKSUMS, verify_export
    from cmlm_kd.teachers.cache import is_cache, verify_cache

    if (path / PREPARE_MANIFEST).is_file():
        _verify_databin(path)
        return "a data-bin"
    if (path / DESCRIPTION).is_file():
        verify_teacher(path)
        return "a C-MLM teacher"
    if (path / CHECKSUMS).is_file():
        verify_export(path)
        return "an exported model"
    if is_cache(path):
        verify_cache(path)
        return "a teacher cache"
    if is_tokenized(path):
        TokenizedCorpus(path).verify()
        return "text in tokens"
    return None


def _verify_store(arguments: argparse.Namespace) -> None:
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
