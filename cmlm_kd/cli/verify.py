"""``cmlm-kd verify``: a store, or another directory of ours, checked from end to end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from cmlm_kd.fairseq_files.databin import Databin
    from cmlm_kd.store import Corpus, Manifest

HELP = "check every byte and value of a store, and that it belongs to a data-bin; or of other directories"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "store",
        type=Path,
        metavar="DIR",
        help="store of 'cmlm-kd dump'; or a data-bin, a C-MLM teacher, a teacher cache, text in tokens, or "
        "an exported directory with checksums, of which every file is compared",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DATA_BIN",
        help="data-bin that the store should belong to; also prints how often the teacher was right",
    )
    parser.add_argument("--split", help="split of the data-bin; default: the one that was dumped")
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
    """Verify and print one summary.

    Raises:
        UserError: something is damaged, or the path is nothing that can be verified.
    """
    other = _verify_other(arguments.store)
    if other is not None:
        kind, has_checksums = other
        if arguments.data is not None:
            raise UserError(f"{arguments.store} is {kind}; --data goes with a store: leave it out")
        said = "every byte is as it was written"
        if not has_checksums:
            said = "of an earlier release, without checksums: what can be seen without them is right"
        print(f"{arguments.store}: {kind}, {said}")
        return
    _check_store(arguments.store)
    _verify_store(arguments)


def _verify_other(path: Path) -> tuple[str, bool] | None:
    """Check a directory of another kind; return what it is and whether it has checksums.

    None stands for a store, or what is none of ours.
    """
    from cmlm_kd.data.text.corpus import TokenizedCorpus, is_tokenized
    from cmlm_kd.data.translation.manifest import is_databin, load_manifest
    from cmlm_kd.models.cmlm_loading import DESCRIPTION, verify_teacher
    from cmlm_kd.models.export_checksums import CHECKSUMS, verify_export
    from cmlm_kd.models.exported import is_exported, read_export
    from cmlm_kd.teachers.cache import TEACHER_OUTPUTS, verify_cache
    from cmlm_kd.teachers.state_cache import verify_states
    from cmlm_kd.teachers.state_files import TEACHER_STATES

    if is_databin(path):
        _verify_databin(path)
        return "a data-bin", bool(load_manifest(path).checksums)
    if (path / DESCRIPTION).is_file():
        return "a C-MLM teacher", bool(verify_teacher(path).checksums)
    if is_exported(path):
        return "an exported model", bool(read_export(path).checksums)
    if (path / CHECKSUMS).is_file():
        verify_export(path)
        return "an exported model", True
    for cache, verify in ((TEACHER_OUTPUTS, verify_cache), (TEACHER_STATES, verify_states)):
        if cache.is_of(path):
            verify(path)
            return "a teacher cache", True
    if is_tokenized(path):
        corpus = TokenizedCorpus(path)
        corpus.verify()
        return "text in tokens", bool(corpus.manifest.checksums)
    return None


def _check_store(path: Path) -> None:
    """Refuse what is of no kind that the command knows: that it is no store is not all there is to say.

    Raises:
        UserError: naming all kinds.
    """
    from cmlm_kd.store.manifest import MANIFEST_NAME, PARTIAL_NAME

    if not any((path / name).is_file() for name in (MANIFEST_NAME, PARTIAL_NAME)):
        what = "is no directory" if path.exists() else "does not exist"
        if path.is_dir():
            what = "holds nothing that can be verified: no manifest of ours"
        raise UserError(
            f"{path} {what}; give a store of 'cmlm-kd dump', a data-bin of 'cmlm-kd prepare', a C-MLM "
            "teacher, a teacher cache, text in tokens, or an exported directory with checksums"
        )


def _verify_store(arguments: argparse.Namespace) -> None:
    from cmlm_kd.store import SoftTargetStore, verify_store
    from cmlm_kd.store.manifest import TEACHER_KIND

    if arguments.valid_store is not None and arguments.data is None:
        raise UserError(
            f"--valid-store {arguments.valid_store} is compared with what the teacher says beside the "
            "references; name the data-bin with --data"
        )
    corpus, target = None, None
    if arguments.data is not None:
        _verify_databin(arguments.data)
        if arguments.split is None:
            header = SoftTargetStore.open(arguments.store).manifest.header
            arguments.split = str(header.settings.get("split", "train"))
        corpus, target = _open_split(arguments, arguments.split)
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


def _open_split(arguments: argparse.Namespace, split: str) -> tuple[Corpus, Databin]:
    """Return a split of ``--data`` and its target sentences."""
    from cmlm_kd.store import Corpus
    from cmlm_kd.store.corpus import chosen_languages, open_pair

    data = arguments.data
    languages = chosen_languages(data, split, arguments.source_lang, arguments.target_lang)
    source, target = open_pair(data, split, *languages)
    return Corpus.of_pair(source, target, data / f"dict.{languages[1]}.txt"), target


def _print_statistics(arguments: argparse.Namespace, manifest: Manifest, target: Databin) -> None:
    """Say what the teacher says beside the references, here and where it was not trained."""
    from cmlm_kd.store import SoftTargetStore, teacher_statistics, verify_store

    if _says_nothing(arguments.store, manifest):
        return
    said = teacher_statistics(SoftTargetStore.open(arguments.store), target)
    print(
        f"  the reference's token is the teacher's best entry at {said.best:.1%} of the tokens, one of its "
        f"{manifest.header.k} at {said.any_of_k:.1%}; these have {said.mass_of_k:.1%} of its probability"
    )
    if said.says_little_of_k:
        print(
            "warning: the student is told all else as one lump, and learns little of it. Dump with a larger "
            "--topk, such as 64, or a teacher that is surer: trained without --label-smoothing, say",
            file=sys.stderr,
        )
    if said.of_reference_alone > 0:
        print(
            f"  at {1 - said.of_reference_alone:.1%} of the tokens it has a distribution, at the others it "
            "knows of the reference's token alone"
        )
    if arguments.valid_store is None:
        return
    _check_other_split(arguments)
    corpus, elsewhere_target = _open_split(arguments, arguments.valid_split)
    valid = verify_store(arguments.valid_store, corpus)
    if valid.header.teacher_hash != manifest.header.teacher_hash:
        raise UserError(
            f"--valid-store {arguments.valid_store} is of teacher {valid.header.teacher_hash[:6]} "
            f"({valid.header.teacher_kind}), {arguments.store} of {manifest.header.teacher_hash[:6]} "
            f"({manifest.header.teacher_kind}); dump both splits with the same"
        )
    if _says_nothing(arguments.valid_store, valid):
        return
    elsewhere = teacher_statistics(SoftTargetStore.open(arguments.valid_store), elsewhere_target)
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


def _says_nothing(store: Path, manifest: Manifest) -> bool:
    """Return, and warn, whether no sentence has a teacher row, so that there is nothing to compare."""
    if not manifest.tokens:
        print(
            f"warning: {store} says nothing of any of its {manifest.header.rows:,} sentences: the teacher "
            "reads none of them. Dump with another, or data in the spelling that it knows",
            file=sys.stderr,
        )
    return not manifest.tokens


def _check_other_split(arguments: argparse.Namespace) -> None:
    """Refuse to compare a split with itself, or with another split than is meant.

    Raises:
        UserError: naming the store and both splits.
    """
    from cmlm_kd.store import SoftTargetStore

    dumped = SoftTargetStore.open(arguments.valid_store).manifest.header.settings.get("split")
    if dumped == arguments.split == arguments.valid_split:
        raise UserError(
            f"--valid-store {arguments.valid_store} is of the split {dumped}, as {arguments.store} is; give "
            "the store of text that the teacher has not seen"
        )
    if dumped not in (None, arguments.valid_split):
        raise UserError(
            f"--valid-store {arguments.valid_store} is of the split {dumped}, --valid-split is "
            f"{arguments.valid_split}; dump that split with the same teacher, or name the store's"
        )


def _verify_databin(data: Path) -> None:
    """Read every byte of a data-bin that 'cmlm-kd prepare' wrote; another has nothing to compare it with."""
    from cmlm_kd.data.translation.integrity import check_databin
    from cmlm_kd.data.translation.manifest import is_databin, load_manifest

    if is_databin(data):
        check_databin(data, load_manifest(data), whole=True)
