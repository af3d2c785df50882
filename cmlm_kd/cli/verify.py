"""``cmlm-kd verify``: a store checked from end to end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.fairseq_files.databin import Databin
    from cmlm_kd.store import Corpus, Manifest

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
        "--valid-store",
        type=Path,
        metavar="STORE",
        help="what the same teacher says on a split that it was not trained on: is it so much surer here "
        "that it knows its training set by heart?",
    )
    parser.add_argument("--valid-split", default="valid", help="that split of the data-bin")
    parser.add_argument(
        "--source-lang", "-s", help="source language; default: as the data-bin's file names say"
    )
    parser.add_argument(
        "--target-lang", "-t", help="target language; default: as the data-bin's file names say"
    )


def run(arguments: argparse.Namespace) -> None:
    """Verify and print one summary."""
    from cmlm_kd.store import verify_store
    from cmlm_kd.store.manifest import TEACHER_KIND

    corpus, target = _split(arguments, arguments.split)
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
    if TEACHER_KIND in header.settings:
        print(f"  the teacher is a {header.teacher_kind}")
    if target is not None:
        _print_statistics(arguments, manifest, target)
    elif arguments.valid_store is not None:
        raise UserError(
            f"--valid-store {arguments.valid_store} is compared with what the teacher says beside the "
            "references; name the data-bin with --data"
        )


def _split(arguments: argparse.Namespace, split: str) -> tuple[Corpus, Databin] | tuple[None, None]:
    """Return a split of ``--data`` and its target sentences."""
    from cmlm_kd.store import Corpus
    from cmlm_kd.store.corpus import infer_languages, open_pair

    if arguments.data is None:
        return None, None
    languages = (arguments.source_lang, arguments.target_lang)
    if None in languages:
        languages = infer_languages(arguments.data, split)
    return Corpus.of_databin(arguments.data, split, *languages), open_pair(arguments.data, split, *languages)[
        1
    ]


def _print_statistics(arguments: argparse.Namespace, manifest: Manifest, target: Databin) -> None:
    """Say what the teacher says beside the references, here and where it was not trained."""
    from cmlm_kd.store import SoftTargetStore, teacher_statistics, verify_store

    said = teacher_statistics(SoftTargetStore.open(arguments.store), target)
    print(
        f"  the reference's token is the teacher's best entry at {said.best:.1%} of the tokens, one of its "
        f"{manifest.header.k} at {said.any_of_k:.1%}"
    )
    if said.of_reference_alone > 0:
        print(
            f"  at {1 - said.of_reference_alone:.1%} of the tokens it has a distribution, at the others it "
            "knows of the reference's token alone"
        )
    if arguments.valid_store is None:
        return
    corpus, elsewhere_target = _split(arguments, arguments.valid_split)
    valid = verify_store(arguments.valid_store, corpus)
    if valid.header.teacher_hash != manifest.header.teacher_hash:
        raise UserError(
            f"--valid-store {arguments.valid_store} is of teacher {valid.header.teacher_hash[:6]} "
            f"({valid.header.teacher_kind}), {arguments.store} of {manifest.header.teacher_hash[:6]} "
            f"({manifest.header.teacher_kind}); dump both splits with the same"
        )
    elsewhere = teacher_statistics(
        SoftTargetStore.open(arguments.valid_store),
        elsewhere_target,  # type: ignore[arg-type]
    )
    for split, values in ((arguments.split, said), (arguments.valid_split, elsewhere)):
        print(
            f"  {split}: best entry right at {values.best:.1%}, entropy {values.entropy:.3f} bits, the "
            f"reference costs {values.reference_bits:.3f} bits a token"
        )
    if said.knows_by_heart(elsewhere):
        print(
            "warning: the teacher knows this text by heart, so that its soft targets say little more than "
            "the references. Dump synthetic or held-out pairs instead, or train teachers with --fold I/N "
            "and dump with --folds",
            file=sys.stderr,
        )
