"""What is asked of ``cmlm-kd prepare``, and what ``prepare.json`` in the data-bin says came out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.version import __version__

MANIFEST = "prepare.json"
"""The manifest's name in the data-bin."""


@dataclass(frozen=True)
class PrepareOptions:
    """What ``cmlm-kd prepare`` is asked to do.

    Attributes:
        teacher: Hugging Face directory or hub name.
        source_language, target_language: suffixes of the text files.
        splits: split name (``train``, ``train1``, ``valid``, ``test``, ...) -> prefix of its text files.
        joined_dictionary: one dictionary for both languages (needed to share embeddings).
        truncate_source: cut sources that, with their target, exceed the teacher's positions
            (summarisation).
        drop_empty: leave out pairs with an empty side instead of refusing them.
    """

    teacher: str
    source_language: str
    target_language: str
    splits: dict[str, str]
    joined_dictionary: bool = False
    truncate_source: bool = False
    drop_empty: bool = False

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    def file(self, data: Path, split: str, language: str) -> Path:
        """Return where fairseq looks for a split in one language, without ``.bin``."""
        return data / f"{split}.{self.source_language}-{self.target_language}.{language}"


@dataclass
class SplitReport:
    """What happened to one split.

    Attributes:
        pairs: rows written.
        dropped_empty: pairs left out because a side was empty.
        truncated_sources: sources cut to the teacher's positions.
        too_long_for_teacher: pairs kept that the teacher cannot read; they will have no soft targets.
        pieces: pieces of each language, EOS included.
        unknown: pieces of each language that became ``<unk>``.
        merged: pieces of each language whose entry stands for another, more frequent teacher id.
    """

    pairs: int = 0
    dropped_empty: int = 0
    truncated_sources: int = 0
    too_long_for_teacher: int = 0
    pieces: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    merged: dict[str, int] = field(default_factory=dict)


def make_manifest(
    data: Path,
    options: PrepareOptions,
    tokenizer: PieceTokenizer,
    reports: dict[str, SplitReport],
    fingerprint: str,
) -> dict[str, Any]:
    """Describe the data-bin whose dictionaries and splits have been written to ``data``."""
    sides = {
        split: [Databin.open(options.file(data, split, language)) for language in options.languages]
        for split in reports
    }
    return {
        "format": "cmlm-kd data-bin",
        "version": __version__,
        "teacher": _from_any_folder(options.teacher),
        "tokenizer": {
            "hash": tokenizer_hash(tokenizer),
            "kind": tokenizer.kind,
            "separators": tokenizer.separators,
            "special": asdict(tokenizer.special),
        },
        "source_language": options.source_language,
        "target_language": options.target_language,
        "joined_dictionary": options.joined_dictionary,
        "truncate_source": options.truncate_source,
        "dictionaries": {
            language: {
                "size": len(Vocabulary.load(data, language)),
                "hash": dictionary_hash(data / f"dict.{language}.txt"),
            }
            for language in options.languages
        },
        "corpora": {split: corpus_hash(*pair) for split, pair in sides.items()},
        "splits": {split: asdict(report) for split, report in reports.items()},
        "fingerprint": fingerprint,
    }


def _from_any_folder(teacher: str) -> str:
    """Return the absolute path of a directory; a hub name is what it is."""
    path = Path(teacher).expanduser()
    return str(path.resolve()) if path.is_dir() else teacher


def load_manifest(data: Path) -> dict[str, Any]:
    """Read the manifest of a prepared data-bin.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    try:
        manifest = json.loads((data / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{data} has no {MANIFEST}; write the data with 'cmlm-kd prepare'") from None
    except ValueError as error:
        raise UserError(
            f"{data / MANIFEST} is damaged ({error}); write the data again with 'cmlm-kd prepare'"
        ) from None
    if not isinstance(manifest, dict):
        raise UserError(f"{data / MANIFEST} is damaged; write the data again with 'cmlm-kd prepare'")
    return manifest


def check_complete(data: Path, options: PrepareOptions) -> None:
    """Look whether all that was written to ``data`` is still there.

    Raises:
        UserError: naming the file that is missing or damaged.
    """
    try:
        for language in options.languages:
            Vocabulary.load(data, language)
            for split in options.splits:
                Databin.open(options.file(data, split, language))
    except UserError as error:
        raise UserError(f"{data} is damaged ({error}); pass --overwrite to write it again") from error


def tokenizer_hash(tokenizer: PieceTokenizer) -> str:
    """Return a hash of the tokenizer's whole behaviour."""
    backend = tokenizer.tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
