"""Whether the files of a prepared data-bin are still those that were written."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cmlm_kd.data.translation.manifest import (
    WRITE_AGAIN,
    PrepareManifest,
    is_databin,
    load_manifest,
)
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.system.checksums import check_files

_RAW = "raw/"


def check_databin(
    data: Path, manifest: PrepareManifest, *, splits: Collection[str] | None = None, whole: bool = False
) -> None:
    """Compare a data-bin with what its manifest says of it; each file once in a process.

    Dictionaries, teacher ids, the teacher's tokenizer and indexes are compared byte by byte. Of the ids
    themselves (``.bin``), which are most of a data-bin, only the size is, unless ``whole`` asks for more; the
    raw text, which only metrics read, is not looked at either (:func:`check_raw` does). A data-bin of an
    earlier release has hashes of dictionaries and corpora alone.

    Args:
        data: the directory.
        manifest: of it.
        splits: those that are read; None: all.
        whole: read every byte.

    Raises:
        UserError: naming the file that is missing or different, and how to mend it.
    """
    for language in manifest.languages:
        _check_dictionary(data, manifest, language)
    chosen = manifest.splits if splits is None else [name for name in splits if name in manifest.splits]
    others = tuple(f"{name}." for name in manifest.splits if name not in chosen)
    records = {
        name: record
        for name, record in manifest.checksums.items()
        if whole or not (name.startswith(_RAW) or name.startswith(others))
    }
    check_files(data, records, WRITE_AGAIN, read=lambda name: whole or not name.endswith(".bin"))
    for split in chosen:
        pair = [Databin.open(manifest.file(data, split, language)) for language in manifest.languages]
        if whole:
            check_corpus(data, manifest, split, corpus_hash(*pair))


def check_corpus(data: Path, manifest: PrepareManifest, split: str, found: str) -> None:
    """Compare the hash of a split's sentences with what was written.

    Args:
        data: the data-bin.
        manifest: of it.
        split: name of the split; one that the manifest does not know is of others.
        found: :func:`cmlm_kd.fairseq_files.databin.corpus_hash` of its two sides.

    Raises:
        UserError: naming both hashes.
    """
    written = manifest.corpora.get(split, found)
    if found != written:
        raise UserError(
            f"{data}, {split}: the sentences have hash {found[:12]}, {written[:12]} was written: a file of "
            f"the split is damaged or of other data; {WRITE_AGAIN}"
        )


def check_raw(path: Path) -> None:
    """Compare a file of raw text with what was written, if it is one of a data-bin; others are anybody's.

    Raises:
        UserError: it is another, or its data-bin's manifest is damaged.
    """
    folder = path.absolute().parent
    data, name = folder.parent, f"{_RAW}{path.name}"
    if f"{folder.name}/" != _RAW or not is_databin(data):
        return
    records = load_manifest(data).checksums
    if name in records:
        check_files(data, {name: records[name]}, WRITE_AGAIN)


def _check_dictionary(data: Path, manifest: PrepareManifest, language: str) -> None:
    path = data / f"dict.{language}.txt"
    found, written = dictionary_hash(path), manifest.dictionaries[language].hash
    if found != written:
        raise UserError(
            f"{path} is dictionary {found[:12]}, {written[:12]} was written: it is damaged or of other data; "
            f"{WRITE_AGAIN}"
        )


def check_complete(data: Path, manifest: PrepareManifest) -> None:
    """Look whether all that was written to a data-bin is still there, byte by byte.

    Raises:
        UserError: naming the file that is missing or damaged.
    """
    try:
        for language in manifest.languages:
            Vocabulary.load(data, language)
        check_databin(data, manifest, whole=True)
    except UserError as error:
        raise UserError(f"{data} is damaged ({error}); pass --overwrite to write it again") from error
