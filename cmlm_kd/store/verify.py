"""Check every value of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.store.corpus import Corpus
from cmlm_kd.store.format import ShardView
from cmlm_kd.store.manifest import Manifest, ShardRecord
from cmlm_kd.store.reader import SoftTargetStore


def verify_store(path: Path | str, corpus: Corpus | None = None) -> Manifest:
    """Read a store from end to end: checksums, value ranges, order, and its corpus where one is given.

    Raises:
        UserError: naming shard and row of the first thing that is wrong.
    """
    store = SoftTargetStore.open(path, checksums=True)
    for shard, record in zip(store.shards, store.manifest.shards, strict=True):
        _verify_values(store, shard, record)
    if corpus is not None:
        store.check(corpus)
    return store.manifest


def _verify_values(store: SoftTargetStore, shard: ShardView, record: ShardRecord) -> None:
    vocabulary = store.manifest.header.vocabulary_size
    ordered_ids = np.sort(shard.ids, axis=1)  # (tokens, k)
    checks: dict[str, NDArray[np.bool_] | np.bool_] = {
        f"an id outside the vocabulary of {vocabulary} entries": (shard.ids >= vocabulary).any(axis=1),
        "an id twice in one token": (ordered_ids[:, 1:] == ordered_ids[:, :-1]).any(axis=1),
        "a logit that is not finite": ~np.isfinite(shard.logits).all(axis=1),
        "logits that are not sorted, best first": (shard.logits[:, 1:] > shard.logits[:, :-1]).any(axis=1),
        # Minus infinity is right where k is the whole vocabulary: nothing is left outside.
        "a tail that is not a number or is plus infinity": (
            np.isnan(shard.tail) | np.isposinf(shard.tail)
        ).any(axis=1),
    }
    for problem, wrong in checks.items():  # wrong: (tokens,)
        if wrong.any():
            token = int(np.argmax(wrong))
            row = int(np.searchsorted(shard.offsets, token, side="right")) - 1
            raise UserError(
                f"store: shard {store.path / record.file}, row {record.first_row + row} (token "
                f"{token - shard.offsets[row]}) has {problem}; the program that wrote it is wrong: delete "
                "the store and run 'cmlm-kd dump' again"
            )
