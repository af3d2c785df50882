"""The store: bytes a token, a batch's share of its training step, and the original's shelve beside it.

    python benchmarks/store.py [--threads N] [--vocabularies 10000 32000] [--rounds 7]

Measured in one run, interleaved round by round; medians, with the smallest and largest round in brackets.
Files are in the page cache. The original (ChenRocks/Distill-BERT-Textgen, ``dump_teacher_topk.py``) keeps
for each sentence the bytes of ``torch.save((logits float16, indices int64))``, top 128, in a ``shelve``; it
is measured at its 128 and at our k.
"""

from __future__ import annotations

import argparse
import contextlib
import dbm
import io
import shelve
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer.transformer_legacy import base_architecture
from torch.nn import functional

from cmlm_kd.store import ConcatenatedStores, Part, ShardRows, SoftTargetStore, StoreHeader, StoreWriter

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
    dictionary = Dictionary()
    for word in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{word}")
    sizes = {"embed_dim": 256, "ffn_embed_dim": 1024, "layers": 3, "attention_heads": 4}
    flags = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()}
    arguments = argparse.Namespace(**flags, share_all_embeddings=True, dropout=0.1)
    base_architecture(arguments)
    task = argparse.Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = TransformerModel.build_model(arguments, task)
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


def seconds(action: Callable[[], object], repeat: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        action()
    return (time.perf_counter() - start) / repeat


def spread(values: list[float], scale: float, digits: int = 2) -> str:
    scaled = sorted(value * scale for value in values)
    middle = statistics.median(scaled)
    return f"{middle:,.{digits}f} [{scaled[0]:,.{digits}f} to {scaled[-1]:,.{digits}f}]"


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
    steps: list[float] = []
    reads: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(rounds):
        steps.append(seconds(step))
        for name, store in stores.items():
            soft_targets = ConcatenatedStores([Part(store, len(store))])
            rows = [draw_batch(generator, lengths) for _ in range(10)]
            start = time.perf_counter()
            for indices in rows:
                targets = lengths[indices]
                soft_targets.collate(indices, targets, int(targets.max()))
            reads[name].append((time.perf_counter() - start) / len(rows))
    print(f"  training step, {lengths[batch].sum():,} target tokens: {spread(steps, 1e3, 0)} ms")
    for name, values in reads.items():
        share = [read / step_time for read, step_time in zip(values, steps, strict=True)]
        print(
            f"  read and collate a batch, {name}: {spread(values, 1e3)} ms, {spread(share, 100, 3)} % of the "
            "step"
        )


def measure_reads(folder: Path, vocabulary: int, lengths: np.ndarray, rounds: int) -> None:
    store = write_store(folder / "store", vocabulary, lengths, 4096)
    manifest = store.manifest
    order = np.random.default_rng(4).permutation(SHELVED).tolist()
    times: dict[str, list[float]] = {"store": []}
    sizes = {"store": manifest.size / manifest.tokens}
    for k in (ORIGINAL_K, K):
        name = f"shelve, top {k}"
        sizes[name] = (
            write_shelve(folder / f"top{k}", vocabulary, lengths[:SHELVED], k) / lengths[:SHELVED].sum()
        )
        times[name] = []
    with contextlib.ExitStack() as stack:
        shelves = {
            f"shelve, top {k}": stack.enter_context(shelve.open(str(folder / f"top{k}"), "r"))
            for k in (ORIGINAL_K, K)
        }
        for _ in range(rounds):
            start = time.perf_counter()
            for row in order * 20:
                store[row]
            times["store"].append((time.perf_counter() - start) / len(order) / 20)
            for name, shelf in shelves.items():
                start = time.perf_counter()
                for row in order:
                    torch.load(io.BytesIO(shelf[str(row)]))
                times[name].append((time.perf_counter() - start) / len(order))
    kind = dbm.whichdb(str(folder / f"top{K}"))
    print(f"one sentence at random, {lengths.mean():.1f} tokens on average ({kind} behind the shelve):")
    for name, values in times.items():
        rates = f"{1 / statistics.median(values):,.0f} sentences a second"
        ratio = [value / ours for value, ours in zip(values, times["store"], strict=True)]
        against = (
            f", {spread(ratio, 1, 0)} x the store's time, {sizes[name] / sizes['store']:.1f} x its space"
        )
        against *= name != "store"
        print(f"  {name}: {spread(values, 1e6)} us, {rates}, {sizes[name]:,.1f} bytes a token{against}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
