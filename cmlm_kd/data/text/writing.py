"""The writer of :class:`cmlm_kd.data.text.corpus.TokenizedCorpus`: one pass, of bounded memory."""

from __future__ import annotations

import fcntl
import itertools
import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from cmlm_kd.data.text import corpus
from cmlm_kd.data.text.corpus import (
    CRCS,
    TEXT_MANIFEST,
    TokenizedCorpus,
    block_crc,
    describe_file,
    rows_of,
)
from cmlm_kd.data.text.sources import TextFile
from cmlm_kd.errors import UserError
from cmlm_kd.system.aside import check_place
from cmlm_kd.system.checksums import as_json, describe_files
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.manifests import write_manifest
from cmlm_kd.tokenization.loading import encoding_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer

CHARACTERS_AT_ONCE = 200_000
"""Bounds the memory that a tokenizer's intermediate results take."""

logger = logging.getLogger(__name__)


def tokenized_corpus(
    directory: Path, files: Sequence[TextFile], tokenizer: PieceTokenizer, longest: int
) -> TokenizedCorpus:
    """Open a directory of text in tokens, after writing it if it is not there.

    Of several processes one writes and the others wait for it, workers of one training or trainings side by
    side.

    Args:
        directory: appears complete or not at all.
        files: the text.
        tokenizer: what cuts it into tokens.
        longest: most tokens of a row.

    Raises:
        UserError: if a file cannot be read or there is no text; if the directory was made of other text.
    """
    manifest = directory / TEXT_MANIFEST
    if not manifest.is_file():
        with _alone_with(directory):
            if not manifest.is_file():
                write_tokenized_corpus(directory, files, tokenizer, longest)
                return TokenizedCorpus(directory)
    found = TokenizedCorpus(directory)
    found.check(files, encoding_hash(tokenizer.tokenizer), longest)
    return found


@contextmanager
def _alone_with(directory: Path) -> Iterator[None]:
    check_place(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_tokenized_corpus(
    directory: Path, files: Sequence[TextFile], tokenizer: PieceTokenizer, longest: int
) -> None:
    """Write a directory of text in tokens; see :func:`tokenized_corpus`."""
    check_new_directory(directory, "holds something else", "give another --tokenized")
    with directory_written_aside(directory, manifest=TEXT_MANIFEST) as partial:
        writer = _write_rows(partial, files, tokenizer, longest)
        blocks = writer.finished_blocks()
        for name, values in (("blocks.npy", blocks), ("counts.npy", writer.counts)):
            np.save(partial / name, values)
        np.save(partial / CRCS, _block_crcs(partial, blocks, writer.totals()))
        manifest = {
            "format": corpus.FORMAT,
            "tokenizer": encoding_hash(tokenizer.tokenizer),
            "longest": longest,
            **writer.totals(),
            "files": [describe_file(file) for file in files],
            "checksums": as_json(describe_files(partial)),
        }
        write_manifest(partial / TEXT_MANIFEST, manifest)


def _write_rows(
    directory: Path, files: Sequence[TextFile], tokenizer: PieceTokenizer, longest: int
) -> _Writer:
    with (directory / "pieces.bin").open("wb") as tokens, (directory / "sizes.bin").open("wb") as sizes:
        writer = _Writer(tokens, sizes, len(tokenizer), longest)
        for file in files:
            before = writer.rows
            writer.begin_file()
            for numbers, texts in _batches(file.parts()):
                writer.add(numbers, tokenizer.encode_ids(texts))
            if writer.rows == before:
                logger.warning("%s has no text", file.path)
    if not writer.rows:
        names = ", ".join(str(file.path) for file in files)
        raise UserError(f"no text in {names}; give a file with one sentence or paragraph per line")
    return writer


def _block_crcs(directory: Path, blocks: np.ndarray, totals: dict[str, Any]) -> np.ndarray:
    """Return the checksum of each block, ``(blocks,)`` uint32."""
    tokens = np.memmap(directory / "pieces.bin", totals["pieces_type"], "r")  # (tokens,)
    sizes = np.memmap(directory / "sizes.bin", totals["sizes_type"], "r")  # (rows,)
    crcs = [
        block_crc(tokens[token:next_token], sizes[row:next_row])
        for (row, token), (next_row, next_token) in itertools.pairwise(blocks.tolist())
    ]
    return np.array(crcs, np.uint32)


class _Writer:
    """Takes the tokens of lines and keeps count."""

    def __init__(self, tokens: IO[bytes], sizes: IO[bytes], vocabulary: int, longest: int) -> None:
        self._tokens, self._sizes, self._longest = tokens, sizes, longest
        self._token_type = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
        self._sizes_type = np.dtype(np.uint16 if longest < 1 << 16 else np.uint32)
        self._block_pieces = max(1, corpus.SHARD_TOKENS // corpus.BLOCKS_PER_SHARD)
        self._blocks = array("q", (0, 0))  # row and token of each beginning
        self.counts = np.zeros(vocabulary, np.int64)  # (V,)
        self.rows = self.written = self.split = 0
        self.begin_file()

    def begin_file(self) -> None:
        """Numbers of lines begin again."""
        self._last_line = self._last_split = 0

    def add(self, numbers: Sequence[int], lines: Sequence[Sequence[int]]) -> None:
        """Write lines, each as one row or several; a line without tokens has none.

        Args:
            numbers: of the lines; parts of one line have the same and follow each other.
            lines: ids of their tokens.
        """
        rows = []
        for number, line in zip(numbers, lines, strict=True):
            parts = list(rows_of(line, self._longest))
            if number != self._last_split and (len(parts) > 1 or number == self._last_line):
                self.split, self._last_split = self.split + 1, number
            self._last_line = number
            for part in parts:
                rows.append(part)
                self.rows += 1
                self.written += len(part)
                if self.written - self._blocks[-1] >= self._block_pieces:
                    self._blocks.extend((self.rows, self.written))
        if not rows:
            return
        ids = np.concatenate([np.asarray(row, self._token_type) for row in rows])  # (tokens,)
        self.counts += np.bincount(ids, minlength=len(self.counts))
        ids.tofile(self._tokens)
        np.array([len(row) for row in rows], self._sizes_type).tofile(self._sizes)

    def finished_blocks(self) -> np.ndarray:
        """Return where blocks begin, as row and token, and where the last one ends: ``(blocks + 1, 2)``."""
        if self._blocks[-1] < self.written:
            self._blocks.extend((self.rows, self.written))
        return np.array(self._blocks, np.int64).reshape(-1, 2)

    def totals(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "pieces": self.written,
            "split_lines": self.split,
            "pieces_type": self._token_type.name,
            "sizes_type": self._sizes_type.name,
        }


def _batches(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[list[int], list[str]]]:
    """Yield numbers and texts of lines that are not blank."""
    numbers: list[int] = []
    texts: list[str] = []
    characters = 0
    for number, text in lines:
        if text.strip():
            numbers.append(number)
            texts.append(text)
            characters += len(text)
        if characters >= CHARACTERS_AT_ONCE:
            yield numbers, texts
            numbers, texts, characters = [], [], 0
    if texts:
        yield numbers, texts
