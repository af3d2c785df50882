"""Checksums of the files of a store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.store.manifest import Manifest


def file_sha256(path: Path) -> str | None:
    """Return the checksum of a file, hexadecimal; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def verify_checksums(path: Path, manifest: Manifest) -> None:
    """Read every byte of a store's shards and compare them with the manifest.

    Raises:
        UserError: naming the first shard that differs.
    """
    for shard in manifest.shards:
        found = file_sha256(path / shard.file)
        if found != shard.sha256:
            raise UserError(
                f"store: shard {path / shard.file} (rows {shard.first_row} to "
                f"{shard.first_row + shard.rows - 1}) has checksum {found and found[:12]}, the manifest says "
                f"{shard.sha256[:12]}; restore it from a copy, or delete the store and run 'cmlm-kd dump' "
                "again"
            )
