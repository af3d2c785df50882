"""Unlabelled text as tokens on disk: written once, read a shard at a time.

A directory of ``pieces.bin`` (the ids of all rows, one after the other), ``sizes.bin`` (tokens of each row),
``blocks.npy`` (where every so many tokens a block begins), ``crc32.npy`` (a checksum of each block, compared
whenever it is read), ``counts.npy`` (how often each token stands in the text) and ``manifest.json`` (which
text, which tokenizer, and checksums of the other files). A row is a line, or a part of one that is
longer than the model's positions.

A shard holds about :data:`SHARD_TOKENS` tokens, and is all of the text that is in memory at a time. Its
blocks come from all over the text, every n-th of n shards' blocks, so that text in some order does not
become a training in that order.
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.data.text.sources import TextFile
from cmlm_kd.errors import UserError
from cmlm_kd.system.arrays import read_array
from cmlm_kd.system.checksums import FileRecord, check_files
from cmlm_kd.system.files import file_sha256
from cmlm_kd.system.manifests import read_manifest, read_object

FORMAT = 1
SHARD_TOKENS = 1 << 22
BLOCKS_PER_SHARD = 64
TEXT_MANIFEST = "manifest.json"
CRCS = "crc32.npy"
_REMEDY = "remove it, so that it is made again, or give another --tokenized"

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


@dataclass(frozen=True)
class TextRecord:
    """A file of text as it was when it was cut into tokens; see :func:`describe_file`."""

    name: str
    column: str
    bytes: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class TextManifest:
    """The contents of ``manifest.json``.

    Attributes:
        tokenizer: :func:`cmlm_kd.tokenization.loading.encoding_hash` of the tokenizer.
        longest: most tokens of a row.
        rows, pieces: how many rows and tokens there are.
        split_lines: lines that were longer.
        pieces_type, sizes_type: of the numbers in ``pieces.bin`` and ``sizes.bin``.
        files: the text.
        checksums: every other file of the directory; those of earlier releases have none.
    """

    tokenizer: str
    longest: int
    rows: int
    pieces: int
    split_lines: int
    pieces_type: Literal["uint16", "uint32"]
    sizes_type: Literal["uint16", "uint32"]
    files: list[TextRecord]
    checksums: dict[str, FileRecord] = field(default_factory=dict)


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
        path = directory / TEXT_MANIFEST
        found = read_object(path, _REMEDY).get("format")
        if found != FORMAT:
            raise self._damaged(f"format {found}, this version reads {FORMAT}")
        self.manifest = read_manifest(path, TextManifest, _REMEDY)
        check_files(directory, self.manifest.checksums, _REMEDY, read=lambda name: name.endswith(".npy"))
        self._token_type = np.dtype(self.manifest.pieces_type)
        self._sizes_type = np.dtype(self.manifest.sizes_type)
        for name, kind, count in (
            ("pieces.bin", self._token_type, self.tokens),
            ("sizes.bin", self._sizes_type, len(self)),
        ):
            if not (directory / name).is_file() or (directory / name).stat().st_size != count * kind.itemsize:
                raise self._damaged(f"{name} is not as long as it was")
        self._blocks = self._read_blocks()
        self._crcs = None
        if CRCS in self.manifest.checksums:
            self._crcs = read_array(directory / CRCS, np.uint32, (len(self._blocks) - 1,), _REMEDY)
        self.shards = max(1, -(-self.tokens // SHARD_TOKENS))

    def _read_blocks(self) -> NDArray[np.int64]:
        """Return where blocks begin and where the last one ends, ``(blocks + 1, 2)``."""
        blocks = np.array(read_array(self.directory / "blocks.npy", np.int64, (None, 2), _REMEDY))
        ends = [] if not len(blocks) else [blocks[0].tolist(), blocks[-1].tolist()]
        if ends != [[0, 0], [len(self), self.tokens]] or (np.diff(blocks, axis=0) < 0).any():
            raise self._damaged(f"blocks.npy does not lead through {len(self)} rows of {self.tokens} tokens")
        return blocks

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self.directory} is no text in tokens ({reason}); {_REMEDY}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.manifest.rows

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return self.manifest.pieces

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How often each token stands in the text, ``(V,)``."""
        counts = np.array(read_array(self.directory / "counts.npy", np.int64, (None,), _REMEDY))
        if (counts < 0).any() or int(counts.sum()) != self.tokens:
            raise self._damaged(f"counts.npy counts {int(counts.sum())} tokens of {self.tokens}")
        return counts

    def verify(self) -> None:
        """Read every byte and compare it with what was written.

        Raises:
            UserError: naming the file that is damaged.
        """
        check_files(self.directory, self.manifest.checksums, _REMEDY)
        for block in range(len(self._blocks) - 1):
            self._read_block(block)

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
        self._check_block(block, tokens, sizes)
        return tokens, sizes, np.arange(row, next_row)

    def _check_block(self, block: int, tokens: NDArray[Any], sizes: NDArray[Any]) -> None:
        """Refuse rows that are not those that were written, or that no model could read."""
        place = f"rows {self._blocks[block, 0]} to {self._blocks[block + 1, 0] - 1}"
        if self._crcs is not None and block_crc(tokens, sizes) != self._crcs[block]:
            raise self._damaged(f"{place} in pieces.bin or sizes.bin have another checksum")
        if not sizes.all() or int(sizes.sum(dtype=np.int64)) != len(tokens):
            raise self._damaged(f"{place} in sizes.bin do not add up to their {len(tokens)} tokens")
        if len(tokens) and int(tokens.max()) >= len(self.counts):
            raise self._damaged(
                f"{place} in pieces.bin hold token {int(tokens.max())}, the tokenizer has {len(self.counts)}"
            )

    def check(self, files: Sequence[TextFile], tokenizer: str, longest: int) -> None:
        """Refuse a directory that was made of other text, with another tokenizer, or for longer inputs.

        Args:
            files: the text.
            tokenizer: hash of the tokenizer.
            longest: most tokens of a row.

        Raises:
            UserError: naming what differs.
        """
        if self.manifest.tokenizer != tokenizer:
            raise self._foreign("another tokenizer")
        if self.manifest.longest != longest:
            raise self._foreign(f"rows of up to {self.manifest.longest} tokens, not {longest}")
        known = self.manifest.files
        if len(known) != len(files):
            raise self._foreign(f"{len(known)} files, not {len(files)}")
        for entry, file in zip(known, files, strict=True):
            if not _is_same(entry, file):
                raise self._foreign(f"another {entry.name} than {file.path}")

    def _foreign(self, reason: str) -> UserError:
        return UserError(f"{self.directory} was made of {reason}; {_REMEDY}")


def is_tokenized(directory: Path) -> bool:
    """Return whether a directory says that it is text in tokens, or has its tokens and a damaged manifest."""
    with contextlib.suppress(UserError):
        if "pieces_type" in read_object(directory / TEXT_MANIFEST, ""):
            return True
    return (directory / "pieces.bin").is_file()


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


def _is_same(entry: TextRecord, file: TextFile) -> bool:
    """Return whether a file is the one described; its bytes are read only if its time is another."""
    if not file.path.is_file():
        return False
    status = file.path.stat()
    if (entry.column, entry.bytes) != (file.column, status.st_size):
        return False
    return entry.modified == status.st_mtime_ns or entry.sha256 == file_sha256(file.path)


def block_crc(tokens: NDArray[Any], sizes: NDArray[Any]) -> int:
    """Return the checksum of a block: CRC-32 of the bytes of its tokens and then of its rows' sizes."""
    return zlib.crc32(sizes.tobytes(), zlib.crc32(tokens.tobytes()))


def _slice(path: Path, kind: np.dtype[Any], start: int, stop: int) -> NDArray[Any]:
    return np.fromfile(path, kind, count=int(stop - start), offset=int(start) * kind.itemsize)


def rows_of(tokens: Sequence[int], longest: int) -> Iterator[Sequence[int]]:
    """Yield a line's tokens in rows of at most ``longest``, of lengths as equal as can be."""
    parts = -(-len(tokens) // longest)
    for part in range(parts):
        yield tokens[part * len(tokens) // parts : (part + 1) * len(tokens) // parts]
