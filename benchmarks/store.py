"""The store: bytes a token, a batch's share of its training step, and the original's shelve beside it.

    python benchmarks/store.py [--threads N] [--vocabularies 10000 32000] [--rounds 7]

Measured in one run, interleaved round by round; medians, with the smallest and largest round in brackets.
Files are in the page cache. The original (ChenRocks/Distill-BERT-Textgen, ``dump_teacher_topk.py``) keeps
for each sentence the bytes of ``torch.save((logits float16, indices int64))``, top 128, in a ``shelve``; it
is measured at its 128 and at our k.
"""

from __future__ import annotations

import contextlib
import dbm
import io
import shelve
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measuring
import numpy as np
import torch
from torch.nn import functional

from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.store import ShardRows, SoftTargetStore, StoreHeader, StoreWriter

K = 8
ORIGINAL_K = 128
BATCH_TOKENS = 4096
SENTENCES = 8192
SHELVED = 1024  # of them; at top 128 the original needs 1.3 kB a token
PAD = 1


def sentence_lengths(generator: np.random.Generator, count: int) -> np.ndarray:
    """Return lengths of 4 to 60 tokens, 15 on average, like captions in word pieces."""
    return np.clip(generator.lognormal(2.6, 0.4, count).astype(int), 4, 60)


def make_rows(generator: np.random.Generator, lengths: np.ndarray, vocabulary: int, k: int) -> ShardRows:
    tokens = int(lengths.sum())
    logits = -np.sort(-generator.normal(5, 3, (tokens, k)), axis=1).astype(np.float16)  # (tokens, k)
    tail = generator.normal(0, 1, (tokens, 2)).astype(np.float16)  # (tokens, 2)
    return ShardRows(lengths, generator.integers(4, vocabulary, (tokens, k)), logits, tail)


def write_store(path: Path, vocabulary: int, lengths: np.ndarray, shard_rows: int) -> SoftTargetStore:
    names = {"dictionary_hash": "0" * 64, "corpus_hash": "0" * 64, "teacher_hash": "0" * 64}
    header = StoreHeader(len(lengths), K, (1.0, 10.0), vocabulary, shard_rows=shard_rows, **names)
    generator = np.random.default_rng(1)
    with StoreWriter.create_or_resume(path, header) as writer:
        for plan in writer.pending_shards():
            rows = lengths[plan.first_row : plan.first_row + plan.rows]
            writer.write_shard(plan, make_rows(generator, rows, vocabulary, K))
        writer.finish()
    return SoftTargetStore.open(path)


def write_shelve(path: Path, vocabulary: int, lengths: np.ndarray, k: int) -> int:
    """Write the original's form of soft targets and return its bytes on disk."""
    generator = np.random.default_rng(2)
    with shelve.open(str(path), "n") as shelf:
        for row, length in enumerate(lengths):
            logits = torch.randn(int(length), k).half()  # (L, k)
            indices = torch.from_numpy(generator.integers(4, vocabulary, (int(length), k)))  # (L, k)
            blob = io.BytesIO()
            torch.save((logits, indices), blob)
            shelf[str(row)] = blob.getvalue()
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def make_step(vocabulary: int, target_lengths: np.ndarray) -> Callable[[], None]:
    """Return one training step of a 3+3-layer transformer, d = 256, on a batch of these target lengths."""
    _, model = measuring.make_transformer(vocabulary, 256)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    tokens = torch.full((len(target_lengths), int(target_lengths.max())), PAD)  # (B, T)
    for row, length in enumerate(target_lengths):
        tokens[row, :length] = torch.randint(4, vocabulary, (int(length),))
    source_lengths = torch.from_numpy(target_lengths)  # (B,)

    def step() -> None:
        optimizer.zero_grad()
        logits, _ = model(tokens, source_lengths, tokens)
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(), tokens.flatten(), ignore_index=PAD, label_smoothing=0.1
        )
        loss.backward()
        optimizer.step()

    step()
    return step


def draw_batch(generator: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """Return sentences of similar length, about 4,096 target tokens, from all over the corpus."""
    order = np.argsort(lengths + generator.random(len(lengths)))
    first = int(generator.integers(0, len(lengths) // 2))
    count = int(np.searchsorted(np.cumsum(lengths[order[first:]]), BATCH_TOKENS))
    return generator.permutation(order[first : first + count])


def measure_batches(folder: Path, vocabulary: int, lengths: np.ndarray, rounds: int) -> None:
    generator = np.random.default_rng(3)
    stores = {
        "in 2 shards": write_store(folder / "few", vocabulary, lengths, 4096),
        "in 512 shards": write_store(folder / "many", vocabulary, lengths, 16),
    }
    manifest = stores["in 2 shards"].manifest
    print(
        f"V = {vocabulary:,}: {manifest.size / manifest.tokens:.1f} bytes a token at k = {K} with 2 tail "
        "temperatures"
    )
    batch = draw_batch(generator, lengths)
    step = make_step(vocabulary, lengths[batch])
    # Ten batches a reading, drawn ahead: what is timed is reading alone.
    drawn = iter([[draw_batch(generator, lengths) for _ in range(10)] for _ in range(rounds * len(stores))])

    def read(soft_targets: SoftTargetStore) -> None:
        for indices in next(drawn):
            targets = lengths[indices]
            columns = torch.arange(int(targets.max()))  # (T,)
            target = (columns < torch.from_numpy(targets)[:, None]).long()  # (B, T), 0 is padding
            soft_targets.signal(TeacherBatch(torch.from_numpy(indices), target=target, padding_idx=0))

    actions = {"step": step}
    for name, store in stores.items():
        actions[name] = partial(read, store)
    times = measuring.in_turn(actions, rounds, time.perf_counter, warm_up=0)
    steps = times.pop("step")
    print(
        f"  training step, {lengths[batch].sum():,} target tokens: {measuring.bracketed(1e3 * steps, 0)} ms"
    )
    for name, values in times.items():
        reads = values / 10
        print(
            f"  read and collate a batch, {name}: {measuring.bracketed(1e3 * reads)} ms, "
            f"{measuring.bracketed(100 * reads / steps, 3)} % of the step"
        )


def measure_reads(folder: Path, vocabulary: int, lengths: np.ndarray, rounds: int) -> None:
    store = write_store(folder / "store", vocabulary, lengths, 4096)
    manifest = store.manifest
    order = np.random.default_rng(4).permutation(SHELVED).tolist()
    sizes = {"store": manifest.size / manifest.tokens}

    def read_store() -> None:
        for row in order * 20:
            store[row]

    def read_shelve(shelf: shelve.Shelf[bytes]) -> None:
        for row in order:
            torch.load(io.BytesIO(shelf[str(row)]))

    actions = {"store": read_store}
    with contextlib.ExitStack() as stack:
        for k in (ORIGINAL_K, K):
            path, name = folder / f"top{k}", f"shelve, top {k}"
            sizes[name] = write_shelve(path, vocabulary, lengths[:SHELVED], k) / lengths[:SHELVED].sum()
            actions[name] = partial(read_shelve, stack.enter_context(shelve.open(str(path), "r")))
        times = measuring.in_turn(actions, rounds, time.perf_counter, warm_up=0)
    times["store"] /= 20
    kind = dbm.whichdb(str(folder / f"top{K}"))
    print(f"one sentence at random, {lengths.mean():.1f} tokens on average ({kind} behind the shelve):")
    for name, values in times.items():
        a_sentence = values / len(order)
        rates = f"{1 / np.median(a_sentence):,.0f} sentences a second"
        ratio = measuring.bracketed(values / times["store"], 0)
        against = f", {ratio} x the store's time, {sizes[name] / sizes['store']:.1f} x its space"
        against *= name != "store"
        print(
            f"  {name}: {measuring.bracketed(1e6 * a_sentence)} us, {rates}, "
            f"{sizes[name]:,.1f} bytes a token{against}"
        )


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[10_000, 32_000])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    lengths = sentence_lengths(np.random.default_rng(0), SENTENCES)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.rounds} rounds")
    for vocabulary in arguments.vocabularies:
        with tempfile.TemporaryDirectory() as folder:
            measure_batches(Path(folder), vocabulary, lengths, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        measure_reads(Path(folder), arguments.vocabularies[0], lengths, arguments.rounds)


if __name__ == "__main__":
    main()
