"""Raw parallel text to a fairseq data-bin in the teacher's own pieces."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cmlm_kd.databin import Databin, corpus_hash, dictionary_hash, write_databin
from cmlm_kd.errors import UserError
from cmlm_kd.teachers.positions import usable_positions
from cmlm_kd.text import read_pairs
from cmlm_kd.tokenizers import Pieces, PieceTokenizer
from cmlm_kd.version import __version__
from cmlm_kd.vocabulary import Vocabulary, count_pieces, is_unknown

MANIFEST = "prepare.json"
_CHUNK = 10_000


@dataclass(frozen=True)
class PrepareOptions:
    """What ``cmlm-kd prepare`` is asked to do.

    Attributes:
        teacher: Hugging Face directory or hub name.
        source_language, target_language: suffixes of the text files.
        splits: split name (``train``, ``train1``, ``valid``, ``test``, ...) -> prefix of its text files.
        joined_dictionary: one dictionary for both languages (needed to share embeddings).
        truncate_source: cut sources that, with their target, exceed the teacher's positions (summarisation).
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


def prepare(options: PrepareOptions, destination: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the data-bin and return its manifest; an equal one that is already there is kept.

    The directory appears only when complete.

    Raises:
        UserError: for unusable text or teacher, or a destination that holds something else.
    """
    from transformers import AutoConfig

    if options.source_language == options.target_language:
        raise UserError(f"source and target language are both {options.source_language!r}; name the files' two suffixes")
    if "train" not in options.splits:
        raise UserError("there is no training text, and the dictionary is made from it; give --trainpref")
    tokenizer = PieceTokenizer.from_pretrained(options.teacher)
    texts = {split: _read_split(prefix, options) for split, prefix in options.splits.items()}
    fingerprint = _fingerprint(options, texts, tokenizer)
    existing = _existing(destination, fingerprint, overwrite)
    if existing is not None:
        return existing
    positions = usable_positions(AutoConfig.from_pretrained(options.teacher)) - 2 - tokenizer.separators
    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "raw").mkdir(parents=True)
    reports, encoded = {}, {}
    for split, (pairs, dropped) in texts.items():
        encoded[split], report = _encode(pairs, tokenizer, positions, options.truncate_source, split)
        report.dropped_empty = dropped
        reports[split] = report
        _write_raw(partial, split, options.languages, pairs)
    vocabularies = _build_vocabularies(encoded, tokenizer, options)
    for side, language in enumerate(options.languages):
        vocabularies[side].save(partial, language)
        for split, sentences in encoded.items():
            _binarise(partial, split, options, side, sentences, vocabularies[side], tokenizer, reports[split])
    tokenizer.tokenizer.save_pretrained(partial / "teacher")
    AutoConfig.from_pretrained(options.teacher).save_pretrained(partial / "teacher")
    manifest = _manifest(partial, options, tokenizer, vocabularies, reports, fingerprint)
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(destination, ignore_errors=True)
    partial.rename(destination)
    return manifest


def load_manifest(data: Path) -> dict[str, Any]:
    """Read the manifest of a prepared data-bin.

    Raises:
        UserError: if there is none.
    """
    try:
        return json.loads((data / MANIFEST).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{data} has no {MANIFEST}; write the data with 'cmlm-kd prepare'") from None
    except ValueError as error:
        raise UserError(f"{data / MANIFEST} is damaged ({error}); write the data again with 'cmlm-kd prepare'") from None


def _read_split(prefix: str, options: PrepareOptions) -> tuple[list[tuple[str, str]], int]:
    pairs = read_pairs(prefix, options.languages)
    empty = [number for number, pair in enumerate(pairs, 1) if not all(side.strip() for side in pair)]
    if empty and not options.drop_empty:
        raise UserError(
            f"{prefix}: {len(empty)} of {len(pairs)} pairs have an empty side, the first in line {empty[0]}; "
            "mend the text, or pass --drop-empty to leave these pairs out"
        )
    kept = [pair for pair in pairs if all(side.strip() for side in pair)]
    if not kept:
        raise UserError(f"{prefix}: no pair has text on both sides; give text with at least one pair")
    return kept, len(pairs) - len(kept)


def _fingerprint(options: PrepareOptions, texts: dict[str, Any], tokenizer: PieceTokenizer) -> str:
    """Return a hash of everything the data depend on."""
    digest = hashlib.sha256(tokenizer_hash(tokenizer).encode())
    settings = {name: value for name, value in asdict(options).items() if name not in ("teacher", "splits")}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for split, (pairs, _) in sorted(texts.items()):
        digest.update(split.encode())
        for pair in pairs:
            digest.update("\n".join(pair).encode() + b"\n")
    return digest.hexdigest()


def tokenizer_hash(tokenizer: PieceTokenizer) -> str:
    """Return a hash of the tokenizer's whole behaviour."""
    backend = tokenizer.tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


def _existing(destination: Path, fingerprint: str, overwrite: bool) -> dict[str, Any] | None:
    if overwrite or not destination.exists() or not any(destination.iterdir()):
        return None
    if (destination / MANIFEST).is_file():
        manifest = load_manifest(destination)
        if manifest.get("fingerprint") == fingerprint:
            return manifest
    raise UserError(
        f"{destination} holds something else (other text, teacher or options); "
        "choose another directory or pass --overwrite"
    )


def _encode(
    pairs: Sequence[tuple[str, str]], tokenizer: PieceTokenizer, positions: int, truncate: bool, split: str
) -> tuple[list[list[Pieces]], SplitReport]:
    """Tokenise a split; ``positions`` is what the teacher has for the pieces of a pair, EOS not counted."""
    report = SplitReport(pairs=len(pairs))
    sides: list[list[Pieces]] = [[], []]
    for start in tqdm(range(0, len(pairs), _CHUNK), desc=f"pieces of {split}", unit="chunk", disable=None):
        chunk = pairs[start : start + _CHUNK]
        for side in (0, 1):
            sides[side].extend(tokenizer.encode_batch([pair[side] for pair in chunk]))
    for row, (source, target) in enumerate(zip(*sides, strict=True)):
        room = positions - len(target.symbols)
        if len(source.symbols) <= room:
            continue
        if truncate and room > 0:
            sides[0][row] = Pieces(source.symbols[:room], source.teacher_ids[:room])
            report.truncated_sources += 1
        else:
            report.too_long_for_teacher += 1
    return sides, report


def _build_vocabularies(
    encoded: dict[str, list[list[Pieces]]], tokenizer: PieceTokenizer, options: PrepareOptions
) -> tuple[Vocabulary, Vocabulary]:
    usage: list[Counter[tuple[str, int]]] = [Counter(), Counter()]
    for split, sides in encoded.items():
        if split.startswith("train"):
            for side in (0, 1):
                usage[side].update(count_pieces(sides[side]))
    if options.joined_dictionary:
        both = Vocabulary.build(usage[0] + usage[1], tokenizer.special)
        return both, both
    return Vocabulary.build(usage[0], tokenizer.special), Vocabulary.build(usage[1], tokenizer.special)


def _write_raw(directory: Path, split: str, languages: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    for side, language in enumerate(languages):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (directory / "raw" / f"{split}.{language}").write_text(text, encoding="utf-8", newline="\n")


def _binarise(
    directory: Path,
    split: str,
    options: PrepareOptions,
    side: int,
    sentences: list[list[Pieces]],
    vocabulary: Vocabulary,
    tokenizer: PieceTokenizer,
    report: SplitReport,
) -> None:
    language = options.languages[side]
    rows = [vocabulary.encode(pieces) for pieces in sentences[side]]
    prefix = directory / f"{split}.{options.source_language}-{options.target_language}.{language}"
    write_databin(prefix, rows, len(vocabulary))
    entries = np.concatenate(rows)
    seen = np.concatenate([np.array([*pieces.teacher_ids, tokenizer.special.sep]) for pieces in sentences[side]])
    stands_for = vocabulary.teacher_ids[entries]
    unknown = stands_for == tokenizer.special.unk
    report.pieces[language] = len(entries)
    report.unknown[language] = sum(
        is_unknown(vocabulary.symbols[entry], tokenizer.special.unk, tokenizer.special) for entry in entries[unknown]
    )
    report.merged[language] = int(((stands_for != seen) & ~unknown).sum())


def _manifest(
    directory: Path,
    options: PrepareOptions,
    tokenizer: PieceTokenizer,
    vocabularies: tuple[Vocabulary, Vocabulary],
    reports: dict[str, SplitReport],
    fingerprint: str,
) -> dict[str, Any]:
    pair = f"{options.source_language}-{options.target_language}"
    sides = {
        split: [Databin.open(directory / f"{split}.{pair}.{language}") for language in options.languages]
        for split in reports
    }
    return {
        "format": "cmlm-kd data-bin",
        "version": __version__,
        "teacher": options.teacher,
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
            language: {"size": len(vocabulary), "hash": dictionary_hash(directory / f"dict.{language}.txt")}
            for language, vocabulary in zip(options.languages, vocabularies, strict=True)
        },
        "corpora": {split: corpus_hash(*pair_of_sides) for split, pair_of_sides in sides.items()},
        "splits": {split: asdict(report) for split, report in reports.items()},
        "fingerprint": fingerprint,
    }
