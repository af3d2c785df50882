"""The manifest of an exported directory: what is in it, what it was made of, and how it was compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cmlm_kd.api.translator import ModelChoice
from cmlm_kd.errors import UserError
from cmlm_kd.system.checksums import FileRecord, as_json, check_files, describe_files
from cmlm_kd.system.manifests import read_manifest, write_manifest

EXPORT_MANIFEST = "export.json"
"""Name of the file."""

CARD = "README.md"
"""The model card, which its owner goes on writing: the one file without a checksum."""

PIECES = "pieces"
"""Folder of the teacher's tokenizer, where a runtime has none of its own."""

EXPORT_AGAIN = "export the checkpoint again"


@dataclass(frozen=True)
class ExportRecord:
    """The contents of ``export.json``.

    Attributes:
        format: always the same.
        version: of the release that wrote it.
        target: ``huggingface``, ``ctranslate2`` or ``onnx``.
        task: what the model does.
        architecture: as fairseq names it.
        quantization: of the weights; ``float32`` for none.
        most_source_tokens, most_target_tokens: the longest texts in tokens, their ends counted; 0 for any.
        model_hash: of what was exported: weights, dictionaries and tokenizer.
        languages: source and target of a translator.
        labels: classes of a classifier in the order of its logits; none for a score.
        reads_pairs: whether a classifier was trained on pairs of texts; None where nothing says so.
        kd_signature: what the checkpoint was distilled from; None for a student without a teacher.
        opset: of ONNX.
        shortlist: of CTranslate2: frequent target tokens in it, and most translations of a source token.
        versions: package -> version, of what wrote and compared it.
        parity: how it was compared with the checkpoint, see the module that did; empty where it was not.
        checksums: every file of the directory but this one and the model card.
    """

    format: Literal["cmlm-kd export"]
    version: str
    target: str
    task: Literal["translation", "classification"]
    architecture: str
    quantization: str
    most_source_tokens: int
    most_target_tokens: int
    model_hash: str
    languages: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    reads_pairs: bool | None = None
    kd_signature: str | None = None
    opset: int | None = None
    shortlist: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    checksums: Mapping[str, FileRecord] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Write the manifest of a directory that is otherwise complete, with the checksums of its files."""
        records = describe_files(directory, leave_out=EXPORT_MANIFEST)
        records.pop(CARD, None)
        document = asdict(replace(self, checksums={}))
        write_manifest(directory / EXPORT_MANIFEST, {**document, "checksums": as_json(records)})

    def with_languages(self, choice: ModelChoice) -> ModelChoice:
        """Return what a user said of a translator with its own languages filled in.

        Raises:
            UserError: the user named another pair.
        """
        asked = (choice.source_language, choice.target_language)
        own = tuple(self.languages) or (None, None)
        if any(code not in (None, known) for code, known in zip(asked, own, strict=True)):
            raise UserError(
                f"--model {choice.path} translates {' to '.join(map(str, own))}, "
                f"{' to '.join(str(a or b) for a, b in zip(asked, own, strict=True))} is asked for; give a "
                "model of that pair"
            )
        return replace(choice, source_language=own[0], target_language=own[1])


def is_exported(directory: Path) -> bool:
    """Return whether a directory has a manifest of an export."""
    return (directory / EXPORT_MANIFEST).is_file()


def read_export(directory: Path) -> ExportRecord:
    """Read the manifest of an exported directory and compare the directory with it, byte by byte.

    Raises:
        UserError: the manifest is damaged, or a file is missing or was changed, naming it.
    """
    record = read_manifest(directory / EXPORT_MANIFEST, ExportRecord, EXPORT_AGAIN)
    check_files(directory, record.checksums, EXPORT_AGAIN)
    return record


def export_record(directory: Path) -> ExportRecord | None:
    """Return :func:`read_export` of a directory that has a manifest; None for one of others."""
    return read_export(directory) if is_exported(directory) else None
