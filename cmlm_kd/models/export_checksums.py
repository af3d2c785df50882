"""Checksums of an exported directory, where they were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.checksums import FileRecord, as_json, check_files, describe_files
from cmlm_kd.system.files import written_aside
from cmlm_kd.system.manifests import read_manifest, write_manifest

CHECKSUMS = "checksums.json"
"""The file that says what the other files of an exported directory were, where that was asked for."""

_EXPORT_AGAIN = "export the checkpoint again"


@dataclass(frozen=True)
class ExportManifest:
    """The contents of :data:`CHECKSUMS`.

    Attributes:
        checksums: every other file of the directory.
    """

    checksums: dict[str, FileRecord]


def note_checksums(directory: Path) -> None:
    """Write the checksums of an exported directory's files into it."""
    with written_aside(directory / CHECKSUMS) as aside:
        records = describe_files(directory, leave_out=aside.name)
        write_manifest(aside, {"checksums": as_json(records)})


def renew_checksum(directory: Path, name: str) -> None:
    """Note that a file of an exported directory was written anew; nothing where none were noted."""
    if (directory / CHECKSUMS).is_file():
        records = _noted(directory)
        records[name] = FileRecord.of(directory / name)
        with written_aside(directory / CHECKSUMS) as aside:
            write_manifest(aside, {"checksums": as_json(records)})


def verify_export(directory: Path) -> None:
    """Compare every file of an exported directory with what :func:`note_checksums` wrote.

    Raises:
        UserError: naming the file that is missing or different.
    """
    check_files(directory, _noted(directory), _EXPORT_AGAIN)


def _noted(directory: Path) -> dict[str, FileRecord]:
    records = read_manifest(directory / CHECKSUMS, ExportManifest, _EXPORT_AGAIN).checksums
    if not records:
        raise UserError(f"{directory / CHECKSUMS} is damaged (it names no file); {_EXPORT_AGAIN}")
    return records
