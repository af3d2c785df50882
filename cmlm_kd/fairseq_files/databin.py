"""fairseq's binarised data, read and written without fairseq.

A split of one language is two files: ``PREFIX.idx`` (header, sizes) and ``PREFIX.bin`` (the ids
of all sentences, end to end). The layout is that of fairseq 0.12's ``MMapIndexedDataset``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.system.git_lfs import refuse_pointer

_MAGIC = b"MMIDIDX\x00\x00"
_DTYPES: dict[int, type] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
    9: np.uint32,
    10: np.uint64,
}
_HEADER = struct.Struct("<9sQBQ")  # magic, version, dtype code, number of sentences
_UINT16_LIMIT = 65500  # below this fairseq itself chooses uint16
_AT_ONCE = 1 << 14  # bytes, ids or sentences in memory at once


class Databin:
    """One language of one split, memory-mapped.

    Attributes:
        prefix: the path without ``.bin``.
        sizes: tokens of each sentence, EOS included, ``(rows,)`` int32.
        tokens: all ids end to end, ``(sum(sizes),)``.
        entries: of the dictionary, with which each sentence is compared when it is read; None: not compared.
    """

    def __init__(
        self,
        prefix: Path,
        sizes: NDArray[np.int32],
        tokens: NDArray[np.integer],
        entries: int | None = None,
        pointers: NDArray[np.int64] | None = None,
    ) -> None:
        self.prefix = prefix
        self.sizes = sizes
        self.tokens = tokens
        self.entries = entries
        self._pointers = pointers  # (rows,) byte that each sentence begins at, in the file; None: not mapped

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each sentence begins in ``tokens``, and where the last one ends, ``(rows + 1,)``."""
        offsets = np.zeros(len(self.sizes) + 1, np.int64)
        np.cumsum(self.sizes, out=offsets[1:])
        return offsets

    def span(self, first: int, rows: int) -> slice:
        """Return where in ``tokens`` the sentences ``[first, first + rows)`` are."""
        if self._pointers is None:
            return slice(int(self.offsets[first]), int(self.offsets[first + rows]))
        if not rows:
            return slice(0, 0)
        last = first + rows - 1
        begin, end = (int(self._pointers[row]) // self.tokens.itemsize for row in (first, last))
        return slice(begin, end + int(self.sizes[last]))

    @classmethod
    def open(cls, prefix: Path | str, entries: int | None = None) -> Databin:
        """Map a split.

        Args:
            prefix: the path without ``.bin``.
            entries: of the dictionary, where each sentence that is read is to be compared with it.

        Raises:
            UserError: if the files are missing, are not fairseq's mmap format, or do not fit each other.
        """
        prefix = Path(prefix)
        index, data = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
        for path in (index, data):
            if not path.is_file():
                raise UserError(f"{path} is missing; write the data with 'cmlm-kd prepare'")
            refuse_pointer(path)
        with index.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or header[:9] != _MAGIC:
                raise UserError(f"{index} is not a fairseq mmap index; binarise with --dataset-impl mmap")
            _, version, code, rows = _HEADER.unpack(header)
            if version != 1 or code not in _DTYPES or index.stat().st_size != _HEADER.size + rows * (4 + 8):
                raise UserError(
                    f"{index} is damaged (version {version}, dtype {code}, {rows} rows); binarise again"
                )
            dtype = np.dtype(_DTYPES[code])
            total = _check_pointers(file, rows, dtype.itemsize)
        if data.stat().st_size != total * dtype.itemsize:
            raise UserError(
                f"{data} has {data.stat().st_size} bytes, its index wants {total * dtype.itemsize}; "
                "binarise again"
            )
        # Mapped, not read: opening a corpus should take no memory that grows with it.
        raw = np.memmap(index, np.uint8, "r")
        sizes = np.frombuffer(raw, np.int32, rows, _HEADER.size)  # (rows,)
        pointers = np.frombuffer(raw, np.int64, rows, _HEADER.size + 4 * rows)  # (rows,)
        if not total:  # nothing to map
            return cls(prefix, sizes, np.empty(0, dtype), entries, pointers)
        return cls(prefix, sizes, np.memmap(data, dtype, "r", shape=(total,)), entries, pointers)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> NDArray[np.integer]:
        """Return the ids of one sentence, EOS included, as a view.

        Raises:
            UserError: one is no entry of the dictionary.
        """
        ids = self.tokens[self.span(row if row >= 0 else row + len(self), 1)]
        if self.entries is not None:
            check_ids(self.prefix, row, ids, self.entries)
        return ids

    def __iter__(self) -> Iterator[NDArray[np.integer]]:
        return (self[row] for row in range(len(self)))

    def content_hash(self) -> str:
        """Return the sha256 of sizes and ids, as they are in the files.

        They are read and not looked at where they are mapped: pages of a map count as memory of the process.
        """
        digest = hashlib.sha256()
        for suffix, start, size in (("idx", _HEADER.size, 4 * len(self)), ("bin", 0, self.tokens.nbytes)):
            with Path(f"{self.prefix}.{suffix}").open("rb") as file:
                file.seek(start)
                for begin in range(0, size, _AT_ONCE):
                    digest.update(file.read(min(_AT_ONCE, size - begin)))
        return digest.hexdigest()


def check_ids(prefix: Path | str, row: int, ids: NDArray[np.integer], entries: int) -> None:
    """Refuse a sentence with an id that is no entry of its dictionary, for which no model has an embedding.

    Args:
        prefix: of the data-bin's file, without ``.bin``.
        row: number of the sentence.
        ids: of it.
        entries: of the dictionary.

    Raises:
        UserError: naming file, sentence and id.
    """
    if not len(ids):
        return
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= entries:
        raise UserError(
            f"{prefix}.bin is damaged (sentence {row} has id {least if least < 0 else most}, its dictionary "
            f"{entries} entries); write the data again with 'cmlm-kd prepare'"
        )


def is_mapped(index: Path) -> bool:
    """Return whether an index (``.idx``) is of the format that is read here; fairseq has others."""
    with index.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _check_pointers(index: BufferedReader, rows: int, width: int) -> int:
    """Refuse an index that lets fairseq read other sentences than its sizes say; return the tokens of all.

    fairseq follows the pointers, and all else here the sizes: fairseq's own writer, like ours, puts sentences
    end to end.

    Args:
        index: the file, behind its header.
        rows: sentences.
        width: bytes of an id.
    """
    begin = 0
    for start in range(0, rows, _AT_ONCE):
        count = min(_AT_ONCE, rows - start)
        index.seek(_HEADER.size + 4 * start)
        lengths = np.fromfile(index, np.int32, count).astype(np.int64)  # (sentences at once,)
        index.seek(_HEADER.size + 4 * rows + 8 * start)
        pointers = np.fromfile(index, np.int64, count)  # (sentences at once,)
        ends = begin + np.cumsum(lengths)
        wrong = (lengths < 0) | (pointers != (ends - lengths) * width)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"{index.name} is damaged (sentence {start + row} begins at byte {pointers[row]}, where the "
                "sizes of those before it do not end); binarise again, or write the data again with "
                "'cmlm-kd prepare'"
            )
        begin = int(ends[-1])
    return begin


def write_databin(prefix: Path, sentences: Iterable[NDArray[np.integer]], vocabulary_size: int) -> None:
    """Write one language of one split; ``sentences`` hold ids including EOS."""
    rows = list(sentences)
    tokens = np.concatenate(rows) if rows else np.empty(0, np.int64)
    sizes = np.array([len(row) for row in rows], np.int32)  # (rows,)
    write_flat_databin(prefix, [tokens], [sizes], len(sizes), vocabulary_size)


def write_flat_databin(
    prefix: Path,
    blocks: Iterable[NDArray[np.integer]],
    sizes: Iterable[NDArray[np.integer]],
    rows: int,
    vocabulary_size: int,
) -> None:
    """Write one language of one split as fairseq's own builder does.

    Args:
        prefix: the path without ``.bin``.
        blocks: parts of the ids of all sentences end to end, EOS included, ``(tokens,)`` together.
        sizes: parts of the lengths of the sentences, ``(rows,)`` together.
        rows: sentences.
        vocabulary_size: entries of the dictionary, which decides how many bytes an id takes.
    """
    dtype = np.dtype(np.uint16 if vocabulary_size < _UINT16_LIMIT else np.uint32)
    code = next(code for code, known in _DTYPES.items() if known is dtype.type)
    with Path(f"{prefix}.bin").open("wb") as stream:
        for block in blocks:
            for start in range(0, len(block), _AT_ONCE):
                stream.write(block[start : start + _AT_ONCE].astype(dtype).tobytes())
    with Path(f"{prefix}.idx").open("wb") as stream:
        stream.write(_HEADER.pack(_MAGIC, 1, code, rows))
        row, begin = 0, 0
        for block in sizes:
            for start in range(0, len(block), _AT_ONCE):
                lengths = block[start : start + _AT_ONCE].astype(np.int32)  # (sentences at once,)
                ends = begin + np.cumsum(lengths, dtype=np.int64)  # (sentences at once,)
                stream.seek(_HEADER.size + 4 * row)
                stream.write(lengths.tobytes())
                stream.seek(_HEADER.size + 4 * rows + 8 * row)
                stream.write(((ends - lengths) * dtype.itemsize).tobytes())
                row, begin = row + len(lengths), int(ends[-1])


def corpus_hash(source: Databin, target: Databin) -> str:
    """Return the hash that ties soft targets to a corpus: both languages, all rows, in order."""
    return hashlib.sha256((source.content_hash() + target.content_hash()).encode()).hexdigest()


def dictionary_hash(path: Path) -> str:
    """Return the hash of a ``dict.LANG.txt``: its symbols in order (counts do not matter).

    Raises:
        UserError: if the file is missing.
    """
    return symbols_hash(read_symbols(path))


def symbols_hash(symbols: Iterable[str]) -> str:
    """Return :func:`dictionary_hash` of the symbols of a dictionary, fairseq's four specials left out."""
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()


def read_symbols(path: Path) -> list[str]:
    """Return the symbols of a ``dict.LANG.txt`` in order, without fairseq's four specials; see
    :func:`read_dictionary`."""
    return [symbol for symbol, _ in read_dictionary(path)]


def read_dictionary(path: Path) -> list[tuple[str, int]]:
    """Return symbols and counts of a ``dict.LANG.txt`` in order, without fairseq's four specials.

    Raises:
        UserError: if the file is missing, is not UTF-8 or holds a line that is not ``SYMBOL COUNT``.
    """
    refuse_pointer(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; write the data with 'cmlm-kd prepare'") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start}); write the data with 'cmlm-kd prepare'"
        ) from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        symbol, _, count = line.rstrip().removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not symbol or not count.isdecimal():
            raise UserError(
                f"{path}, line {number}: {line[:60]!r} is not a symbol and its count; write the data again "
                "with 'cmlm-kd prepare'"
            )
        entries.append((symbol, int(count)))
    return entries
