"""Contents of files and directories, compared by size and time first and by checksum where these differ."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

Files = dict[str, list[Any]]
"""Name in a directory, or ``""`` for a file -> its size in bytes, its time in nanoseconds, its SHA-256."""


def checksums(files: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> SHA-256."""
    return {name: entry[2] for name, entry in files.items()}


class Contents:
    """What files hold; each is read once as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def remember(self, path: str, files: Mapping[str, Any]) -> None:
        """Take over checksums of files in ``path`` that an earlier run computed."""
        for name, (size, time, checksum) in files.items():
            self._known[os.path.join(path, name) if name else path, size, time] = checksum

    def of(self, path: str, leave_out: frozenset[str] = frozenset()) -> Files:
        """Return the files in a directory, or the one at a path; none where nothing is there.

        Args:
            path: absolute.
            leave_out: absolute paths of files and directories that do not count.
        """
        return {name: self._entry(file) for name, file in _files(path, leave_out)}

    def are(self, path: str, files: Mapping[str, Any], may_miss: tuple[str, ...] = ()) -> bool:
        """Return whether files are as they were; others may have come.

        Args:
            path: absolute path of the file, or of the directory.
            files: what was there.
            may_miss: absolute paths of files and directories that may have been removed.
        """
        self.remember(path, files)
        for name, entry in files.items():
            file = os.path.join(path, name) if name else path
            if not os.path.isfile(file):
                if not any(file == other or file.startswith(other + os.sep) for other in may_miss):
                    return False
            elif os.path.getsize(file) != entry[0] or self._entry(file)[2] != entry[2]:
                return False
        return True

    def _entry(self, file: str) -> list[Any]:
        found = os.stat(file)
        key = (file, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            with open(file, "rb") as stream:
                self._known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        return [found.st_size, found.st_mtime_ns, self._known[key]]


def _files(path: str, leave_out: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield name and absolute path."""
    if os.path.isfile(path):
        yield "", path
        return
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if os.path.join(folder, name) not in leave_out)
        for name in sorted(names):
            file = os.path.join(folder, name)
            if file not in leave_out and os.path.isfile(file):
                yield os.path.relpath(file, path), file
