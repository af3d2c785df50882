"""A small store with known rows, for the tests of all that reads and writes one."""

import numpy as np

from cmlm_kd.store import (
    ShardRows,
    StoreHeader,
    StoreWriter,
)

K = 3
TEMPERATURES = (1.0, 4.0)
VOCABULARY = 50
LENGTHS = np.array([4, 1, 0, 7, 2, 9, 0, 3, 5, 6, 8])  # two sentences have no teacher row


def make_header(**changes):
    values = {
        "rows": len(LENGTHS),
        "k": K,
        "tail_temperatures": TEMPERATURES,
        "vocabulary_size": VOCABULARY,
        "dictionary_hash": "d" * 64,
        "corpus_hash": "c" * 64,
        "teacher_hash": "e" * 64,
        "shard_rows": 4,
        "settings": {"stride": 7, "precision": "float32"},
        "environment": {"threads": 1},
    }
    return StoreHeader(**{**values, **changes})


def make_rows(header, first_row, lengths):
    """Random but reproducible rows, each a function of its place in the corpus alone."""
    ids, logits, tail = [], [], []
    for row, length in enumerate(lengths, start=first_row):
        generator = np.random.default_rng(row)
        for _ in range(length):
            ids.append(generator.choice(header.vocabulary_size, header.k, replace=False))
            logits.append(np.sort(generator.normal(0, 5, header.k))[::-1])
            tail.append(generator.normal(0, 2, len(header.tail_temperatures)))
    tokens = int(lengths.sum())
    return ShardRows(
        lengths,
        np.array(ids, dtype=np.int64).reshape(tokens, header.k),
        np.array(logits, dtype=np.float16).reshape(tokens, header.k),
        np.array(tail, dtype=np.float16).reshape(tokens, len(header.tail_temperatures)),
    )


def write_pending(writer, limit=None):
    for plan in writer.pending_shards()[:limit]:
        lengths = LENGTHS[plan.first_row : plan.first_row + plan.rows]
        writer.write_shard(plan, make_rows(writer.header, plan.first_row, lengths))


def write_store(path, **changes):
    with StoreWriter.create_or_resume(path, make_header(**changes)) as writer:
        write_pending(writer)
        writer.finish()
    return path


def contents(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def flip_bit(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
