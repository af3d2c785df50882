"""``cmlm-kd prepare``: a fairseq data-bin in the teacher's own tokens, out of raw parallel text."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cmlm_kd.data.translation.integrity import check_complete, check_databin
from cmlm_kd.data.translation.manifest import (
    PREPARE_MANIFEST,
    PrepareManifest,
    PrepareOptions,
    databin_files,
    load_manifest,
    make_manifest,
)
from cmlm_kd.data.translation.parallel_text import ParallelText
from cmlm_kd.data.translation.writing import DatabinWriting, save_teacher_tokenizer
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.files import (
    check_new_directory,
    directory_written_aside,
    file_name,
    finish_interrupted,
)
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.positions import usable_positions


def prepare(options: PrepareOptions, destination: Path, *, overwrite: bool = False) -> PrepareManifest:
    """Write the data-bin and return its manifest; an equal one that is already there is kept.

    The directory appears only when complete.

    Args:
        options: what to do.
        destination: where to write it.
        overwrite: replace another data-bin that is already there; files that its manifest does not name stay.

    Raises:
        UserError: for unusable text or teacher, or a destination that holds something else or cannot be
            written.
    """
    for flag, language in zip(("--source-lang", "--target-lang"), options.languages, strict=True):
        file_name(flag, language)
    if options.source_language == options.target_language:
        raise UserError(
            f"source and target language are both {options.source_language!r}; name the files' two suffixes"
        )
    if "train" not in options.splits:
        raise UserError("there is no training text, and the dictionary is made from it; give --trainpref")
    there = _holds_databin(destination)
    tokenizer = PieceTokenizer.from_pretrained(options.teacher)
    if options.dictionaries is not None:
        _check_dictionaries(options.dictionaries, options, tokenizer)
    config = _load_config(options.teacher)
    if config is None and options.truncate_source:
        raise UserError(
            f"--truncate-source cuts at the teacher's positions, but {options.teacher} has no more than a "
            "tokenizer; give the teacher itself, or leave the flag out"
        )
    # Of a teacher's positions [CLS] and the last [SEP] take two; a tokenizer alone sets no bound.
    positions = sys.maxsize if config is None else usable_positions(config) - 2 - tokenizer.separators
    text = ParallelText(options, tokenizer)
    if there and not overwrite:
        return _kept(destination, options, text)
    former = _own_files(destination, options) if there else frozenset()
    with directory_written_aside(destination, manifest=PREPARE_MANIFEST, replaces=former) as partial:
        reports = DatabinWriting(partial, options, tokenizer, positions).run(text)
        save_teacher_tokenizer(tokenizer, config, partial / "teacher")
        manifest = make_manifest(partial, options, tokenizer, reports, text.digest())
        manifest.write(partial)
    return manifest


def _check_dictionaries(given: Path, options: PrepareOptions, tokenizer: PieceTokenizer) -> None:
    """Refuse dictionaries that are damaged, of other languages or another tokenizer, or shared where these
    are not to be."""
    manifest = load_manifest(given)
    check_databin(given, manifest, splits=())
    if set(manifest.languages) != set(options.languages):
        raise UserError(
            f"--dictionaries {given} has the languages {' and '.join(manifest.languages)}, the text "
            f"{' and '.join(options.languages)}; give a data-bin of the same two"
        )
    if manifest.tokenizer.hash != serialized_hash(tokenizer.tokenizer):
        raise UserError(
            f"--dictionaries {given} is in the tokens of {manifest.teacher} (tokenizer "
            f"{manifest.tokenizer.hash[:6]}), --teacher {options.teacher} has others (tokenizer "
            f"{serialized_hash(tokenizer.tokenizer)[:6]}); give both the same teacher"
        )
    if manifest.joined_dictionary != options.joined_dictionary:
        has = "one dictionary for both languages" if manifest.joined_dictionary else "two dictionaries"
        change = "pass" if manifest.joined_dictionary else "leave out"
        raise UserError(f"--dictionaries {given} has {has}; {change} --joined-dictionary")


def _load_config(teacher: str) -> Any | None:
    """Return a model's configuration; None for a directory that has a tokenizer and no model."""
    from transformers import AutoConfig

    if Path(teacher).is_dir() and not Path(teacher, "config.json").is_file():
        return None
    try:
        return load_saved(AutoConfig, teacher)
    except UserError:
        raise
    except Exception as error:  # of many types, none of which helps the user
        raise UserError(
            f"cannot load the configuration of teacher {teacher!r}: {first_line(error)}; give a directory "
            "with a config.json, as save_pretrained writes it, or a hub name that can be reached"
        ) from error


def _holds_databin(destination: Path) -> bool:
    """Return whether the destination is a data-bin; False if it can be made.

    Raises:
        UserError: if it holds something else.
    """
    finish_interrupted(destination)
    if os.path.isfile(destination / PREPARE_MANIFEST):
        return True
    problem = (
        "is a file" if destination.is_file() else "is not empty and was not written by 'cmlm-kd prepare'"
    )
    check_new_directory(destination, problem, "choose another --destdir")
    return False


def _own_files(destination: Path, options: PrepareOptions) -> frozenset[str]:
    """Return the files that make room for the new data-bin, relative to the destination.

    Raises:
        UserError: no manifest says which they are; or naming another file that would be written over, or
            that fairseq would read as part of a split.
    """
    try:
        own = load_manifest(destination).files
    except UserError as error:
        raise UserError(
            f"{destination / PREPARE_MANIFEST} is damaged, and nothing else says which files --overwrite may "
            "replace; move the folder away, or choose another --destdir"
        ) from error
    for name in sorted(databin_files(options.languages, options.splits) - own):
        if os.path.lexists(destination / name):
            raise UserError(
                f"{destination / name} does not belong to the data-bin there, and would be written over; "
                "move it away, or choose another --destdir"
            )
    for split in options.splits:
        for path in sorted(
            destination.glob(f"{split.rstrip('0123456789')}[0-9]*.{'-'.join(options.languages)}.*")
        ):
            if path.name not in own:
                raise UserError(
                    f"{path} does not belong to the data-bin there, and fairseq would read it as part of "
                    f"{split}; move it away, or choose another --destdir"
                )
    return own


def _kept(destination: Path, options: PrepareOptions, text: ParallelText) -> PrepareManifest:
    """Return the manifest of an equal data-bin.

    Raises:
        UserError: naming what is different, or damaged.
    """
    manifest = load_manifest(destination)
    if manifest.fingerprint != text.fingerprint():
        raise UserError(
            f"{destination} was prepared with another {_difference(manifest, options, text.tokenizer_hash)}; "
            "choose another --destdir or pass --overwrite"
        )
    check_complete(destination, manifest)
    return manifest


def _difference(manifest: PrepareManifest, options: PrepareOptions, tokenizer_hash: str) -> str:
    """Name what differs, ``text`` if it is none of the settings."""
    names = ("source_language", "target_language", "joined_dictionary", "truncate_source")
    different = [name for name in names if getattr(manifest, name) != getattr(options, name)]
    if manifest.tokenizer.hash != tokenizer_hash:
        different.insert(0, "tokenizer")
    return ", ".join(name.replace("_", " ") for name in different) or "text"
