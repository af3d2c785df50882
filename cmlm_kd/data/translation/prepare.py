"""Raw parallel text to a fairseq data-bin in the teacher's own pieces."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmlm_kd.data.translation.manifest import (
    MANIFEST,
    PrepareOptions,
    SplitReport,
    check_complete,
    load_manifest,
    make_manifest,
    tokenizer_hash,
)
from cmlm_kd.data.translation.writing import DatabinWriting, save_teacher
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.files import directory_written_aside
from cmlm_kd.system.text import iterate_pairs
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.positions import usable_positions

__all__ = ["MANIFEST", "PrepareOptions", "SplitReport", "load_manifest", "prepare", "tokenizer_hash"]


def prepare(options: PrepareOptions, destination: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the data-bin and return its manifest; an equal one that is already there is kept.

    The directory appears only when complete.

    Args:
        options: what to do.
        destination: where to write it.
        overwrite: replace another data-bin that is already there.

    Raises:
        UserError: for unusable text or teacher, or a destination that holds something else or cannot be
            written.
    """
    if options.source_language == options.target_language:
        raise UserError(
            f"source and target language are both {options.source_language!r}; name the files' two suffixes"
        )
    if "train" not in options.splits:
        raise UserError("there is no training text, and the dictionary is made from it; give --trainpref")
    tokenizer = PieceTokenizer.from_pretrained(options.teacher)
    config = _load_config(options.teacher)
    positions = usable_positions(config) - 2 - tokenizer.separators  # [CLS] and the last [SEP]
    fingerprint, lines = _scan(options, tokenizer)
    existing = _existing(destination, options, tokenizer, fingerprint, overwrite)
    if existing is not None:
        return existing
    try:
        with directory_written_aside(destination) as partial:
            reports = DatabinWriting(partial, options, tokenizer, positions, lines).run()
            save_teacher(tokenizer, config, partial / "teacher")
            manifest = make_manifest(partial, options, tokenizer, reports, fingerprint)
            text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
            (partial / MANIFEST).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {destination}: {error.strerror or error}; make room or choose another --destdir"
        ) from error
    return manifest


def _load_config(teacher: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(teacher)
    except Exception as error:  # of many types, none of which helps the user
        raise UserError(
            f"cannot load the configuration of teacher {teacher!r}: {first_line(error)}; give a directory "
            "with a config.json, as save_pretrained writes it, or a hub name that can be reached"
        ) from error


def _scan(options: PrepareOptions, tokenizer: PieceTokenizer) -> tuple[str, dict[str, int]]:
    """Read all text once; return a hash of everything the data depend on, and each split's lines."""
    digest = hashlib.sha256(tokenizer_hash(tokenizer).encode())
    settings = {name: value for name, value in asdict(options).items() if name not in ("teacher", "splits")}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    lines = {}
    for split, prefix in sorted(options.splits.items()):
        digest.update(split.encode())
        empty, number = [], 0
        for number, pair in enumerate(iterate_pairs(prefix, options.languages), 1):
            if all(side.strip() for side in pair):
                digest.update("\n".join(pair).encode() + b"\n")
            else:
                empty.append(number)
        if empty and not options.drop_empty:
            raise UserError(
                f"{prefix}: {len(empty)} of {number} pairs have an empty side, the first in line {empty[0]}; "
                "mend the text, or pass --drop-empty to leave these pairs out"
            )
        lines[split] = number
    return digest.hexdigest(), lines


def _existing(
    destination: Path, options: PrepareOptions, tokenizer: PieceTokenizer, fingerprint: str, overwrite: bool
) -> dict[str, Any] | None:
    """Return the manifest of an equal data-bin; None if the destination may be written."""
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination} is a file; choose another --destdir")
    if not destination.exists() or not any(destination.iterdir()):
        return None
    if not (destination / MANIFEST).is_file():
        raise UserError(
            f"{destination} is not empty and was not written by 'cmlm-kd prepare'; choose another --destdir"
        )
    if overwrite:
        return None
    manifest = load_manifest(destination)
    if manifest.get("fingerprint") != fingerprint:
        raise UserError(
            f"{destination} was prepared with another {_difference(manifest, options, tokenizer)}; "
            "choose another --destdir or pass --overwrite"
        )
    check_complete(destination, options)
    return manifest


def _difference(manifest: dict[str, Any], options: PrepareOptions, tokenizer: PieceTokenizer) -> str:
    """Name what differs, ``text`` if it is none of the settings."""
    found = {**manifest, "tokenizer": manifest.get("tokenizer", {}).get("hash")}
    wanted = {**asdict(options), "tokenizer": tokenizer_hash(tokenizer)}
    names = ("tokenizer", "source_language", "target_language", "joined_dictionary", "truncate_source")
    return ", ".join(name.replace("_", " ") for name in names if found.get(name) != wanted[name]) or "text"
