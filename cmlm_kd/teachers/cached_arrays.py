"""The common part of all teacher caches: a manifest, NumPy arrays with checksums, and what they must be of.

A cache is a directory that appears only when it is complete. Its ``manifest.json`` names the format, what the
bytes depend on (the identity), and the checksum and shape of every array.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import DTypeLike, NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.system.arrays import check_finite, read_array
from cmlm_kd.system.files import file_sha256
from cmlm_kd.system.manifests import read_manifest, read_object

CACHE_MANIFEST = "manifest.json"
OWNER = "teacher cache: "
REMEDY = "remove the directory, and it will be computed again"

_OTHER = "give another --teacher-cache, or remove the directory and it will be computed again"

Manifest = TypeVar("Manifest")


@dataclass(frozen=True)
class CacheFormat:
    """A kind of cache.

    Attributes:
        name: what its manifest says.
        version: likewise.
        contents: what messages call it, such as ``teacher outputs``.
        known_by: an array that no other kind has, by which one with a damaged manifest is known.
    """

    name: str
    version: int
    contents: str
    known_by: str

    def is_of(self, path: Path) -> bool:
        """Return whether a directory says so, or has such a cache's arrays and a damaged manifest."""
        with contextlib.suppress(UserError):
            if read_object(path / CACHE_MANIFEST, "").get("format") == self.name:
                return True
        return (path / self.known_by).is_file()

    def read(self, path: Path, kind: type[Manifest]) -> Manifest:
        """Return the manifest of a cache as the dataclass that describes it.

        Raises:
            UserError: it is missing, damaged, or of another format or version.
        """
        document = read_object(path / CACHE_MANIFEST, REMEDY, owner=OWNER)
        found = (document.get("format"), document.get("version"))
        if found != (self.name, self.version):
            raise UserError(
                f"{path} is no cache of {self.contents} (format {found[0]!r} {found[1]!r}, this release "
                f"reads {self.name!r} {self.version}); give another --teacher-cache"
            )
        return read_manifest(path / CACHE_MANIFEST, kind, REMEDY, owner=OWNER)


@dataclass(frozen=True)
class CachedArray:
    """An array of a cache.

    Attributes:
        sha256: checksum of its file.
        shape: its sizes.
    """

    sha256: str
    shape: list[int]


def read_cached_array(
    path: Path,
    files: Mapping[str, CachedArray],
    name: str,
    kind: DTypeLike,
    shape: Sequence[int | None],
    *,
    compared: bool = False,
) -> NDArray[Any]:
    """Return an array after comparing its bytes, type, shape and numbers with what they should be.

    Args:
        path: directory of the cache.
        files: what the manifest says of its arrays.
        name: of the file.
        kind: type of the numbers.
        shape: its sizes; None for one that the manifest alone knows.
        compared: whether another process has compared bytes and numbers already.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    record = files.get(name)
    if record is None:
        raise UserError(f"{OWNER}{path / CACHE_MANIFEST} names no {name}; {REMEDY}")
    if not compared and file_sha256(path / name) != record.sha256:
        raise UserError(
            f"teacher cache {path}: {name} is not what the manifest says (checksum {record.sha256[:12]}); "
            f"{REMEDY}"
        )
    array = read_array(path / name, kind, shape, REMEDY, owner=OWNER)
    if list(array.shape) != record.shape:
        raise UserError(
            f"{OWNER}{path / name} has shape {list(array.shape)}, the manifest says {record.shape}; {REMEDY}"
        )
    if not compared:
        check_finite(path / name, array, REMEDY, owner=OWNER)
    return array


def check_same(
    path: Path, found: object, wanted: object, sets: Mapping[str, str], singular: Mapping[str, str]
) -> None:
    """Refuse a cache of another corpus or teacher, or that lacks what is read; more than that is welcome.

    Args:
        path: directory of the cache.
        found: its identity, a dataclass.
        wanted: the identity of what this run would write.
        sets: fields of which the cache may have more entries than are wanted, and what they are called.
        singular: what messages call other fields.

    Raises:
        UserError: naming both.
    """
    for name, value in vars(wanted).items():
        have = getattr(found, name)
        if name in sets:
            missing = sorted(set(value) - set(have))
            if missing:
                raise UserError(
                    f"teacher cache {path} has the {sets[name]} {have}, not of {missing}; {_OTHER}"
                )
        elif have != value:
            raise UserError(
                f"teacher cache {path} is of another {singular.get(name, name)}: it has {_short(have)}, "
                f"this run {_short(value)}; {_OTHER}"
            )


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value[:12]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        parts = []
        for teacher in value:
            parts.append(", ".join(f"{key} {_short(item)}" for key, item in teacher.items()))
        return "; ".join(parts)
    return str(value)
