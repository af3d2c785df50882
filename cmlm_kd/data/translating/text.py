"""The text to translate: read shard by shard, with a hash of the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import iterate_lines


@dataclass(frozen=True)
class TextFile:
    """A text file of one sentence a line, plain or gzipped.

    Attributes:
        path: where it is.
        lines: how many it has.
        hash: sha256 of its lines, without their line ends and without compression.
    """

    path: Path
    lines: int
    hash: str

    @classmethod
    def open(cls, path: Path) -> TextFile:
        """Read a file once, from its beginning to its end.

        Raises:
            UserError: it is missing, empty, or not UTF-8.
        """
        digest, lines = hashlib.sha256(), 0
        for line in iterate_lines(path):
            digest.update(line.encode() + b"\n")
            lines += 1
        if not lines:
            raise UserError(f"{path} is empty; give text with at least one line")
        return cls(path, lines, digest.hexdigest())

    def __iter__(self) -> Iterator[str]:
        return iterate_lines(self.path)

    def shards(self, rows: int) -> Iterator[list[str]]:
        """Yield the lines, that many at a time."""
        lines = iter(self)
        while shard := list(islice(lines, rows)):
            yield shard
