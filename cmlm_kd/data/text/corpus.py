"""Unlabelled text as tokens on disk: written once, read a shard at a time.

A directory of ``pieces.bin`` (the ids of all rows, one after the other), ``sizes.bin`` (tokens of each row),
``blocks.npy`` (where every so many tokens a block begins), ``counts.npy`` (how often each token stands in
the text) and ``manifest.json`` (which text, which tokenizer). A row is a line, or a part of one that is
longer than the model's positions.

A shard holds about :data:`SHARD_TOKENS` tokens, and is all of the text that is in memory at a time. Its
blocks come from all over the text, every n-th of n shards' blocks, so that text in some order does not
become a training in that order.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.text.sources import TextFile
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.files import file_sha256

FORMAT = 1
SHARD_TOKENS = 1 << 22
BLOCKS_PER_SHARD = 64
TEXT_MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Rows in memory.

    Attributes:
        tokens: ``(all tokens,)`` ids, one row after the other.
        sizes: ``(rows,)`` tokens of each row, at least 1.
        rows: ``(rows,)`` number of each row in the whole text.
    """

    tokens: NDArray[np.unsignedinteger[Any]]
    sizes: NDArray[np.int32]
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", np.cumsum(self.sizes, dtype=np.int64))  # (rows,)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Return the tokens of a row, ``(L,)``."""
        end = self._ends[index]  # type: ignore[attr-defined]
        return self.tokens[end - self.sizes[index] : end].astype(np.int32)


class TokenizedCorpus:
    """A directory that :func:`cmlm_kd.data.text.writing.write_tokenized_corpus` wrote.

    Args:
        directory: the same.

    Attributes:
        manifest: what ``manifest.json`` says.
        shards: how many shards there are.

    Raises:
        UserError: if it is not there, damaged, or of another version.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self.manifest: dict[str, Any] = json.loads(
                (directory / TEXT_MANIFEST).read_text(encoding="utf-8")
            )
            self._blocks: NDArray[np.int64] = np.load(directory / "blocks.npy")  # (blocks + 1, 2)
        except (OSError, ValueError) as error:
            raise self._damaged(first_line(error)) from error
        if self.manifest.get("format") != FORMAT:
            raise self._damaged(f"format {self.manifest.get('format')}, this version reads {FORMAT}")
        self._token_type = np.dtype(self.manifest["pieces_type"])
        self._sizes_type = np.dtype(self.manifest["sizes_type"])
        for name, kind, count in (
            ("pieces.bin", self._token_type, self.tokens),
            ("sizes.bin", self._sizes_type, len(self)),
        ):
            if (directory / name).stat().st_size != count * kind.itemsize:
                raise self._damaged(f"{name} is not as long as it was")
        self.shards = max(1, -(-self.tokens // SHARD_TOKENS))

    def _damaged(self, reason: str) -> UserError:
        return UserError(
            f"{self.directory} is no text in tokens ({reason}); remove it, so that it is made again, or give "
            "another --tokenized"
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.manifest["rows"])

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return int(self.manifest["pieces"])

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each token stands in the text, ``(V,)``."""
        counts: NDArray[np.int64] = np.load(self.directory / "counts.npy")
        return counts

    def read(self, shard: int | None = None) -> Shard:
        """Read a shard into memory, or all of the text with None."""
        step = 1 if shard is None else self.shards
        blocks = range(shard or 0, len(self._blocks) - 1, step)
        parts = [self._read_block(block) for block in blocks]
        tokens, sizes, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Shard(tokens, sizes.astype(np.int32), rows)

    def _read_block(self, block: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
        (row, token), (next_row, next_token) = self._blocks[block], self._blocks[block + 1]
        tokens = _slice(self.directory / "pieces.bin", self._token_type, token, next_token)
        sizes = _slice(self.directory / "sizes.bin", self._sizes_type, row, next_row)
        return tokens, sizes, np.arange(row, next_row)

    def check(self, files: Sequence[TextFile], tokenizer: str, longest: int) -> None:
        """Refuse a directory that was made of other text, with another tokenizer, or for longer inputs.

        Args:
            files: the text.
            tokenizer: hash of the tokenizer.
            longest: most tokens of a row.

        Raises:
            UserError: naming what differs.
        """
        if self.manifest["tokenizer"] != tokenizer:
            raise self._foreign("another tokenizer")
        if self.manifest["longest"] != longest:
            raise self._foreign(f"rows of up to {self.manifest['longest']} tokens, not {longest}")
        known = self.manifest["files"]
        if len(known) != len(files):
            raise self._foreign(f"{len(known)} files, not {len(files)}")
        for entry, file in zip(known, files, strict=True):
            if not _is_same(entry, file):
                raise self._foreign(f"another {entry['name']} than {file.path}")

    def _foreign(self, reason: str) -> UserError:
        return UserError(
            f"{self.directory} was made of {reason}; remove it, so that it is made again, or give another "
            "--tokenized"
        )


def describe_file(file: TextFile) -> dict[str, Any]:
    """Return what a manifest says of a file."""
    status = file.path.stat()
    return {
        "name": file.path.name,
        "column": file.column,
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "sha256": file_sha256(file.path),
    }


def _is_same(entry: dict[str, Any], file: TextFile) -> bool:
    """Return whether a file is the one described; its bytes are read only if its time is another."""
    if not file.path.is_file():
        return False
    status = file.path.stat()
    if (entry["column"], entry["bytes"]) != (file.column, status.st_size):
        return False
    return bool(entry["modified"] == status.st_mtime_ns) or entry["sha256"] == file_sha256(file.path)


def _slice(path: Path, kind: np.dtype[Any], start: int, stop: int) -> NDArray[Any]:
    return np.fromfile(path, kind, count=int(stop - start), offset=int(start) * kind.itemsize)


def rows_of(tokens: Sequence[int], longest: int) -> Iterator[Sequence[int]]:
    """Yield a line's tokens in rows of at most ``longest``, of lengths as equal as can be."""
    parts = -(-len(tokens) // longest)
    for part in range(parts):
        yield tokens[part * len(tokens) // parts : (part + 1) * len(tokens) // parts]
