"""fairseq's binarised data, read and written without fairseq.

A split of one language is two files: ``PREFIX.idx`` (header, one size a sentence) and ``PREFIX.bin`` (the ids of all
sentences, end to end). The layout is that of fairseq 0.12's ``MMapIndexedDataset``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError

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


class Databin:
    """One language of one split, memory-mapped.

    Attributes:
        prefix: the path without ``.bin``.
        sizes: pieces of each sentence, EOS included, ``(rows,)`` int32.
        tokens: all ids end to end, ``(sum(sizes),)``.
        offsets: where each sentence begins in ``tokens``, ``(rows + 1,)`` int64.
    """

    def __init__(self, prefix: Path, sizes: NDArray[np.int32], tokens: NDArray[np.integer]) -> None:
        self.prefix = prefix
        self.sizes = sizes
        self.tokens = tokens
        self.offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # (rows + 1,)

    @classmethod
    def open(cls, prefix: Path | str) -> Databin:
        """Map a split.

        Raises:
            UserError: if the files are missing, are not fairseq's mmap format, or do not fit each other.
        """
        prefix = Path(prefix)
        index, data = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
        for path in (index, data):
            if not path.is_file():
                raise UserError(f"{path} is missing; write the data with 'cmlm-kd prepare'")
        raw = index.read_bytes()
        if len(raw) < _HEADER.size or raw[:9] != _MAGIC:
            raise UserError(f"{index} is not a fairseq mmap index; binarise with --dataset-impl mmap")
        _, version, code, rows = _HEADER.unpack_from(raw)
        if version != 1 or code not in _DTYPES or len(raw) != _HEADER.size + rows * (4 + 8):
            raise UserError(f"{index} is damaged (version {version}, dtype {code}, {rows} rows); binarise again")
        sizes = np.frombuffer(raw, np.int32, rows, _HEADER.size)  # (rows,)
        dtype = np.dtype(_DTYPES[code])
        total = int(sizes.sum())
        if data.stat().st_size != total * dtype.itemsize:
            raise UserError(f"{data} has {data.stat().st_size} bytes, its index wants {total * dtype.itemsize}")
        tokens = np.memmap(data, dtype, "r", shape=(total,)) if total else np.empty(0, dtype)
        return cls(prefix, sizes, tokens)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> NDArray[np.integer]:
        """Return the ids of one sentence, EOS included, as a view."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[np.integer]]:
        return (self[row] for row in range(len(self)))

    def content_hash(self) -> str:
        """Return the sha256 of sizes and ids."""
        digest = hashlib.sha256(self.sizes.tobytes())
        for start in range(0, len(self.tokens), 1 << 24):
            digest.update(np.ascontiguousarray(self.tokens[start : start + (1 << 24)]).tobytes())
        return digest.hexdigest()


def write_databin(prefix: Path, sentences: Iterable[NDArray[np.int64]], vocabulary_size: int) -> None:
    """Write one language of one split; ``sentences`` hold ids including EOS."""
    dtype = np.dtype(np.uint16 if vocabulary_size < _UINT16_LIMIT else np.int32)
    code = next(code for code, known in _DTYPES.items() if known is dtype.type)
    sizes: list[int] = []
    with Path(f"{prefix}.bin").open("wb") as stream:
        for sentence in sentences:
            stream.write(sentence.astype(dtype).tobytes())
            sizes.append(len(sentence))
    lengths = np.array(sizes, np.int32)  # (rows,)
    pointers = np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.int64)])[: len(lengths)] * dtype.itemsize
    with Path(f"{prefix}.idx").open("wb") as stream:
        stream.write(_HEADER.pack(_MAGIC, 1, code, len(lengths)))
        stream.write(lengths.tobytes())
        stream.write(pointers.astype(np.int64).tobytes())


def corpus_hash(source: Databin, target: Databin) -> str:
    """Return the hash that ties soft targets to a corpus: both languages, all rows, in order."""
    return hashlib.sha256((source.content_hash() + target.content_hash()).encode()).hexdigest()


def dictionary_hash(path: Path) -> str:
    """Return the hash of a ``dict.LANG.txt``: its symbols in order (counts do not matter).

    Raises:
        UserError: if the file is missing.
    """
    return hashlib.sha256("\n".join(read_symbols(path)).encode()).hexdigest()


def read_symbols(path: Path) -> list[str]:
    """Return the symbols of a ``dict.LANG.txt`` in order, without fairseq's four specials.

    Raises:
        UserError: if the file is missing or is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; write the data with 'cmlm-kd prepare'") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); write the data with 'cmlm-kd prepare'") from None
    return [line.rsplit(" ", 1)[0] for line in lines if line]
