"""One shard as bytes: an Arrow IPC stream of a single record batch, and NumPy views of it without a copy.

Columns, one row a target sentence: ``ids`` ``list<fixed_size_list<uint16|uint32>[k]>``, ``logits``
``list<fixed_size_list<float16>[k]>``, ``tail`` ``list<fixed_size_list<float16>[n]>`` with n tail
temperatures. All three are null in a sentence without a teacher row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.store.manifest import Manifest, ShardPlan, ShardRecord, StoreHeader
from cmlm_kd.system.files import file_sha256
from cmlm_kd.system.git_lfs import refuse_pointer
from cmlm_kd.system.mapped import let_go


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


LOWEST_LOGIT = -65504.0
"""The logit of an entry that the teacher gives no mass: float16's lowest number stands for minus infinity."""

METADATA_KEY = b"cmlm_kd"
"""Key of the Arrow schema's metadata that tells which rows of which corpus a shard holds."""


@dataclass(frozen=True)
class ShardRows:
    """The soft targets of one shard's sentences, token after token.

    Attributes:
        lengths: ``(rows,)`` target tokens of each sentence, end of sentence included; 0 for one without
            teacher row.
        ids: ``(tokens, k)`` entries of the target dictionary, best first.
        logits: ``(tokens, k)`` float16, their raw logits.
        tail: ``(tokens, n)`` float16, for each tail temperature T the log-sum-exp of all other logits / T.
    """

    lengths: NDArray[np.integer[Any]]
    ids: NDArray[np.integer[Any]]
    logits: NDArray[np.float16]
    tail: NDArray[np.float16]


class ShardView(NamedTuple):
    """Views into a memory-mapped shard; they keep the map alive."""

    ids: NDArray[Any]  # (tokens, k)
    logits: NDArray[np.float16]  # (tokens, k)
    tail: NDArray[np.float16]  # (tokens, n)
    offsets: NDArray[np.int32]  # (rows + 1,) token that each row starts at
    file: pa.Buffer  # all of it


def shard_metadata(header: StoreHeader, plan: ShardPlan | ShardRecord) -> bytes:
    """Return what ties a shard to its place: it stands in the shard's Arrow schema."""
    place = {"corpus_hash": header.corpus_hash, "first_row": plan.first_row, "rows": plan.rows}
    return json.dumps(place, sort_keys=True).encode()


def encode_shard(header: StoreHeader, plan: ShardPlan, rows: ShardRows) -> pa.Buffer:
    """Return the bytes of a shard.

    Raises:
        ValueError: arrays that don't fit the plan or each other, an id outside the vocabulary.
    """
    _check_rows(header, plan, rows)
    offsets = np.zeros(plan.rows + 1, dtype=np.int32)  # (rows + 1,)
    np.cumsum(rows.lengths, out=offsets[1:])
    missing = pa.array(rows.lengths == 0)
    columns = {
        "ids": _column(rows.ids.astype(header.ids_dtype, copy=False), offsets, missing),
        "logits": _column(rows.logits, offsets, missing),
        "tail": _column(rows.tail, offsets, missing),
    }
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    batch = batch.replace_schema_metadata({METADATA_KEY: shard_metadata(header, plan)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def _check_rows(header: StoreHeader, plan: ShardPlan, rows: ShardRows) -> None:
    """Refuse what would write a shard that no reader accepts."""
    tokens = int(rows.lengths.sum())
    wanted = {
        "lengths": (plan.rows,),
        "ids": (tokens, header.k),
        "logits": (tokens, header.k),
        "tail": (tokens, len(header.tail_temperatures)),
    }
    for name, shape in wanted.items():
        if getattr(rows, name).shape != shape:
            raise ValueError(f"{plan.file}: {name} has shape {getattr(rows, name).shape}, expected {shape}")
    for name in ("logits", "tail"):
        if getattr(rows, name).dtype != np.float16:
            raise ValueError(f"{plan.file}: {name} is {getattr(rows, name).dtype}, expected float16")
    if rows.lengths.min() < 0 or tokens >= 1 << 31:
        raise ValueError(
            f"{plan.file}: {tokens} tokens, shortest row {rows.lengths.min()}; use a smaller shard_rows"
        )
    if tokens and not 0 <= int(rows.ids.min()) <= int(rows.ids.max()) < header.vocabulary_size:
        raise ValueError(f"{plan.file}: an id lies outside the vocabulary of {header.vocabulary_size}")


def _column(values: NDArray[Any], offsets: NDArray[np.int32], missing: pa.Array) -> pa.ListArray:
    """Return ``(tokens, width)`` values as a list column."""
    flat = np.ascontiguousarray(values).reshape(-1)  # (tokens * width,)
    items = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), flat.size, [None, pa.py_buffer(flat)])
    fixed = pa.FixedSizeListArray.from_arrays(items, type=pa.list_(items.type, values.shape[1]))
    return pa.ListArray.from_arrays(pa.array(offsets), fixed, mask=missing)


def open_shard(path: Path, manifest: Manifest, record: ShardRecord) -> ShardView:
    """Map a shard into memory and check, without reading its values, that it is the one the manifest means.

    Raises:
        UserError: missing, of another size, of another place or corpus, or not readable.
    """
    header = manifest.header
    if not path.is_file():
        raise _damaged(path, "is missing")
    if path.stat().st_size != record.size:
        refuse_pointer(path)
        raise _damaged(path, f"has {path.stat().st_size} bytes, the manifest says {record.size}")
    try:
        file = pa.memory_map(str(path)).read_buffer()
        with pa.ipc.open_stream(file) as stream:
            metadata = (stream.schema.metadata or {}).get(METADATA_KEY)
            batch = stream.read_next_batch()
        columns = {name: batch.column(name) for name in ("ids", "logits", "tail")}
        offsets = np.frombuffer(columns["ids"].buffers()[1], dtype=np.int32, count=batch.num_rows + 1)
        widths = (header.k, header.k, len(header.tail_temperatures))
        dtypes = (header.ids_dtype, np.dtype(np.float16), np.dtype(np.float16))
        ids, logits, tail = (
            _values(column, record.tokens, width, dtype)
            for column, width, dtype in zip(columns.values(), widths, dtypes, strict=True)
        )
    except (pa.ArrowException, OSError, KeyError, StopIteration, ValueError) as error:
        raise _damaged(path, f"can't be read ({error})") from error
    if metadata != shard_metadata(header, record) or batch.num_rows != record.rows:
        raise _damaged(path, f"holds {metadata!r} with {batch.num_rows} rows, the manifest says otherwise")
    if offsets[0] != 0 or offsets[-1] != record.tokens or np.any(offsets[1:] < offsets[:-1]):
        raise _damaged(path, f"has row offsets that don't add up to the manifest's {record.tokens} tokens")
    without = int(np.count_nonzero(offsets[1:] == offsets[:-1]))
    if without != record.rows_without_teacher:
        raise _damaged(
            path, f"has {without} rows without a teacher, the manifest says {record.rows_without_teacher}"
        )
    let_go(file)
    return ShardView(ids, logits, tail, offsets, file)


def _values(column: pa.ListArray, tokens: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of a list column as ``(tokens, width)``, a view."""
    if column.type != pa.list_(pa.list_(pa.from_numpy_dtype(dtype), width)):
        raise ValueError(f"type {column.type} instead of lists of {width} {dtype}")
    if tokens * width == 0:
        return np.empty((tokens, width), dtype)
    return np.frombuffer(column.buffers()[-1], dtype=dtype, count=tokens * width).reshape(tokens, width)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"store: shard {path} {what}; check it with 'cmlm-kd verify', restore it from a copy, or delete the "
        "store and run 'cmlm-kd dump' again"
    )
