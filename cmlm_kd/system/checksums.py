"""Checksums of the files of a directory: taken when it is written, compared when it is read.

A file that was compared is not read again in the same process, as long as its size and its time stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.files import file_sha256
from cmlm_kd.system.git_lfs import refuse_pointer


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written.

    Attributes:
        bytes: its size.
        sha256: its checksum, hexadecimal.
    """

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Describe a file that is there."""
        return cls(path.stat().st_size, file_sha256(path) or "")


def describe_files(directory: Path, *, leave_out: str = "") -> dict[str, FileRecord]:
    """Return the record of every file in a directory and the folders in it, under its relative name.

    Args:
        directory: the same.
        leave_out: name of the manifest, which cannot describe itself.
    """
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = {path.relative_to(directory).as_posix(): path for path in paths}
    return {name: FileRecord.of(path) for name, path in names.items() if name != leave_out}


def as_json(records: Mapping[str, FileRecord]) -> dict[str, dict[str, object]]:
    """Return records as a manifest holds them."""
    return {name: asdict(record) for name, record in records.items()}


_compared: set[tuple[str, str, int, int]] = set()
"""Path, checksum, size and time of the files that were right."""


def check_files(
    directory: Path,
    records: Mapping[str, FileRecord],
    remedy: str,
    *,
    read: Callable[[str], bool] = lambda name: True,
    owner: str = "",
) -> None:
    """Compare files with what was noted when they were written.

    Args:
        directory: where they are.
        records: name in the directory -> what it should be.
        remedy: what the message says to do.
        read: whether a file's bytes are compared; of the others only the size is.
        owner: what the message begins with.

    Raises:
        UserError: naming the first file that is missing or different.
    """
    for name, record in records.items():
        path = directory / name
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise UserError(f"{owner}{directory}: its manifest names {name!r}, no file in it; {remedy}")
        try:
            status = path.stat()
        except OSError:
            raise UserError(f"{owner}{path} is missing; {remedy}") from None
        if not path.is_file():
            raise UserError(f"{owner}{path} is no file; {remedy}")
        if status.st_size != record.bytes:
            refuse_pointer(path)
            raise UserError(
                f"{owner}{path} is damaged ({status.st_size} bytes, {record.bytes} were written); {remedy}"
            )
        if read(name):
            _compare(path, record, status, owner, remedy)


def _compare(path: Path, record: FileRecord, status: os.stat_result, owner: str, remedy: str) -> None:
    key = (os.path.realpath(path), record.sha256, status.st_size, status.st_mtime_ns)
    if key in _compared:
        return
    found = file_sha256(path) or "none"
    if found != record.sha256:
        raise UserError(
            f"{owner}{path} is damaged (checksum {found[:12]}, {record.sha256[:12]} was written); {remedy}"
        )
    _compared.add(key)
