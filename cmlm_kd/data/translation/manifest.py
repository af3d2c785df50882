"""The request to ``cmlm-kd prepare``, and the manifest ``prepare.json`` of the data-bin that it wrote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from cmlm_kd.data.translation.synthetic import SyntheticText, synthetic_side
from cmlm_kd.data.translation.vocabulary import Vocabulary
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash
from cmlm_kd.system.checksums import FileRecord, describe_files
from cmlm_kd.system.files import finish_interrupted
from cmlm_kd.system.manifests import read_manifest, write_manifest
from cmlm_kd.tokenization.loading import serialized_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds
from cmlm_kd.version import __version__

PREPARE_MANIFEST = "prepare.json"
"""The manifest's file in the data-bin."""

TEACHER_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.jinja", "vocab.txt", "vocab.json", "merges.txt"),
    *("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"),
)
"""What transformers writes of a tokenizer and a configuration, some of it at least."""

WRITE_AGAIN = "write the data again with 'cmlm-kd prepare'"
"""How a data-bin is mended."""


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
        dictionaries: data-bin whose dictionaries are taken over, so that its models can read this text and
            its translators teach on it; None to make them of the training text.
    """

    teacher: str
    source_language: str
    target_language: str
    splits: dict[str, str]
    joined_dictionary: bool = False
    truncate_source: bool = False
    drop_empty: bool = False
    dictionaries: Path | None = None

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    def file(self, data: Path, split: str, language: str) -> Path:
        """Return where fairseq looks for a split in one language, without ``.bin``."""
        return split_file(data, split, self.languages, language)


@dataclass
class SplitReport:
    """What happened to one split.

    Attributes:
        pairs: rows written.
        dropped_empty: pairs left out because a side was empty.
        truncated_sources: sources cut to the teacher's positions.
        too_long_for_teacher: pairs kept that the teacher cannot read; they will have no soft targets.
        pieces: tokens of each language, EOS included.
        unknown: tokens of each language that became ``<unk>``.
        merged: tokens of each language whose entry stands for another, more frequent teacher id.
    """

    pairs: int = 0
    dropped_empty: int = 0
    truncated_sources: int = 0
    too_long_for_teacher: int = 0
    pieces: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    merged: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerRecord:
    """The tokenizer that a data-bin was written with.

    Attributes:
        hash: :func:`cmlm_kd.tokenization.loading.serialized_hash`.
        kind: ``wordpiece``, ``sentencepiece`` or ``bytelevel``.
        separators: ``[SEP]`` tokens between source and target.
        special: ids of the tokens that frame a pair.
    """

    hash: str
    kind: str
    separators: int
    special: SpecialIds

    @classmethod
    def of(cls, tokenizer: PieceTokenizer) -> TokenizerRecord:
        """Describe a tokenizer."""
        return cls(
            serialized_hash(tokenizer.tokenizer), tokenizer.kind, tokenizer.separators, tokenizer.special
        )


@dataclass(frozen=True)
class DictionaryRecord:
    """A dictionary: its entries, specials and padding included, and the hash of its symbols."""

    size: int
    hash: str


@dataclass(frozen=True)
class PrepareManifest:
    """The contents of ``prepare.json``, in the order of the file.

    Attributes:
        format: always the same.
        version: of the release that wrote the data-bin.
        teacher: absolute directory, or hub name.
        tokenizer: the teacher's.
        source_language, target_language, joined_dictionary, truncate_source: as in :class:`PrepareOptions`.
        dictionaries: language -> its dictionary.
        corpora: split -> :func:`cmlm_kd.fairseq_files.databin.corpus_hash` of its two sides.
        splits: split -> what happened to it.
        fingerprint: hash of all that decides the data: tokenizer, options and text.
        synthetic: split -> which of its sides a machine wrote, and which machine.
        checksums: every other file of the data-bin, relative to it; data-bins of earlier releases have none.
    """

    format: Literal["cmlm-kd data-bin"]
    version: str
    teacher: str
    tokenizer: TokenizerRecord
    source_language: str
    target_language: str
    joined_dictionary: bool
    truncate_source: bool
    dictionaries: dict[str, DictionaryRecord]
    corpora: dict[str, str]
    splits: dict[str, SplitReport]
    fingerprint: str
    synthetic: dict[str, SyntheticText] = field(default_factory=dict)
    checksums: dict[str, FileRecord] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    def file(self, data: Path, split: str, language: str) -> Path:
        """Return where a split in one language is, without ``.bin``."""
        return split_file(data, split, self.languages, language)

    def target_dictionary(self, data: Path) -> Path:
        """Return the dictionary that labels are entries of."""
        return data / f"dict.{self.target_language}.txt"

    @property
    def files(self) -> frozenset[str]:
        """The files of the data-bin, relative to it, those that a tokenizer need not have included."""
        return databin_files(self.languages, self.splits)

    def write(self, data: Path) -> None:
        """Write the manifest into the data-bin; equal ones are equal bytes."""
        known = asdict(self)
        if not self.synthetic:
            del known["synthetic"]
        write_manifest(data / PREPARE_MANIFEST, known)


def databin_files(languages: tuple[str, str], splits: Iterable[str]) -> frozenset[str]:
    """Return what files a data-bin can have, relative to it.

    Args:
        languages: source and target.
        splits: names of the splits.
    """
    files = {PREPARE_MANIFEST, *(f"teacher/{name}" for name in TEACHER_FILES)}
    for language in languages:
        files |= {f"dict.{language}.txt", f"dict.{language}.teacher_ids.npy"}
        for split in splits:
            prefix = split_file(Path(), split, languages, language)
            files |= {f"{prefix}.bin", f"{prefix}.idx", f"raw/{split}.{language}"}
    return frozenset(files)


def split_file(data: Path, split: str, languages: tuple[str, str], language: str) -> Path:
    """Return where fairseq looks for a split in one of its languages, without ``.bin``."""
    return data / f"{split}.{'-'.join(languages)}.{language}"


def make_manifest(
    data: Path,
    options: PrepareOptions,
    tokenizer: PieceTokenizer,
    reports: dict[str, SplitReport],
    fingerprint: str,
) -> PrepareManifest:
    """Describe the data-bin that has been written to ``data``, all of it but the manifest."""

    def hash_of(split: str) -> str:
        return corpus_hash(*(Databin.open(options.file(data, split, name)) for name in options.languages))

    def dictionary(language: str) -> DictionaryRecord:
        size = len(Vocabulary.load(data, language))
        return DictionaryRecord(size, dictionary_hash(data / f"dict.{language}.txt"))

    sides = {split: synthetic_side(prefix, options.languages) for split, prefix in options.splits.items()}
    return PrepareManifest(
        format="cmlm-kd data-bin",
        version=__version__,
        teacher=_from_any_folder(options.teacher),
        tokenizer=TokenizerRecord.of(tokenizer),
        source_language=options.source_language,
        target_language=options.target_language,
        joined_dictionary=options.joined_dictionary,
        truncate_source=options.truncate_source,
        dictionaries={language: dictionary(language) for language in options.languages},
        corpora={split: hash_of(split) for split in reports},
        splits=reports,
        fingerprint=fingerprint,
        synthetic={split: side for split, side in sides.items() if side is not None},
        checksums=describe_files(data, leave_out=PREPARE_MANIFEST),
    )


def _from_any_folder(teacher: str) -> str:
    """Return the absolute path of a directory; a hub name is what it is."""
    path = Path(teacher).expanduser()
    return str(path.resolve()) if path.is_dir() else teacher


def is_databin(data: Path) -> bool:
    """Return whether 'cmlm-kd prepare' wrote a directory.

    What an interrupted run of it had begun to move is moved first: until then there is no manifest, and some
    of the files are the former ones.

    Raises:
        UserError: the operating system refuses.
    """
    finish_interrupted(data)
    return (data / PREPARE_MANIFEST).is_file()


def load_manifest(data: Path) -> PrepareManifest:
    """Read the manifest of a prepared data-bin.

    Raises:
        UserError: if there is none, or it is damaged, naming the field.
    """
    path = data / PREPARE_MANIFEST
    if not is_databin(data):
        raise UserError(f"{data} has no {PREPARE_MANIFEST}; write the data with 'cmlm-kd prepare'")
    manifest = read_manifest(path, PrepareManifest, WRITE_AGAIN)
    for name in (*manifest.languages, *manifest.splits, *manifest.corpora):
        if Path(name).name != name:
            raise UserError(f"{path} is damaged ({name!r} is no part of a file's name); {WRITE_AGAIN}")
    for language in manifest.languages:
        if language not in manifest.dictionaries:
            raise UserError(f"{path} is damaged (dictionaries.{language} is missing); {WRITE_AGAIN}")
    return manifest
