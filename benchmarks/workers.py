"""Two workers of a dump against one: how much faster ``--shard 1/2`` and ``2/2`` are together.

Each worker is a process with one thread and a BERT of random weights (12 layers, d = 384); clocks start when
both have it in memory. Afterwards the parts are merged and compared with the store of the one worker::

    python benchmarks/workers.py [--workers 2] [--pairs 512] [--rounds 3]

Workers share the machine's memory and caches, so that a machine without as many idle cores shows less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import measuring
import torch
from dump import VOCABULARY, random_format, random_teacher, synthetic_pairs

from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import StoreHeader, StoreWriter, merge_parts
from cmlm_kd.system.shares import Share
from cmlm_kd.teachers.cover_masks import Dumper
from cmlm_kd.teachers.shards import DumpOptions


def header_of(rows: int, shards: int) -> StoreHeader:
    names = {"dictionary_hash": "0" * 64, "corpus_hash": "0" * 64, "teacher_hash": "0" * 64}
    return StoreHeader(rows, 8, (1.0, 10.0), VOCABULARY, shard_rows=-(-rows // shards), **names)


def work(folder: Path, part: Path, share: Share, args: argparse.Namespace, ready: Barrier) -> None:
    """Dump a share of the shards; the seconds that it took are written beside the part."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dumper = Dumper(
        random_teacher(args.layers, args.hidden_size),
        random_format(),
        DumpOptions(bf16_autocast=args.bf16, max_tokens=args.max_tokens),
    )
    source, target = (Databin.open(folder / side) for side in ("source", "target"))
    with StoreWriter.create_or_resume(part, header_of(len(target), args.shards)) as writer:
        ready.wait()
        start = time.perf_counter()
        for plan in writer.pending_shards():
            if share.holds(plan.index):
                writer.write_shard(plan, dumper.shard(source, target, plan))
        part.with_suffix(".seconds").write_text(str(time.perf_counter() - start))


def dump(folder: Path, name: str, count: int, args: argparse.Namespace) -> tuple[float, Path]:
    """Dump by so many workers at once; returns the seconds of the slowest, and the whole store."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(count)
    shares = [Share(index, count) for index in range(1, count + 1)]
    parts = [folder / f"{name}-{share.index}" for share in shares]
    processes = [
        context.Process(target=work, args=(folder, part, share, args, ready))
        for part, share in zip(parts, shares, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a worker failed")
    merge_parts(parts, folder / name)
    return max(float(part.with_suffix(".seconds").read_text()) for part in parts), folder / name


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden-size", type=int, default=384)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic_pairs(folder, args.pairs, 0.31)
        for number in range(args.rounds):
            found = {
                count: dump(folder, f"{count}-{number}", count, args)
                for count in ((1, args.workers) if number % 2 else (args.workers, 1))
            }
            (alone, one), (together, many) = found[1], found[args.workers]
            contents = [{file.name: file.read_bytes() for file in store.iterdir()} for store in (one, many)]
            if contents[0] != contents[1]:
                raise SystemExit("the merged store has other bytes than that of one worker")
            ratios.append(alone / together)
    what = f"{args.workers} workers, times as fast as one, same bytes"
    print(f"{what} (at least {0.95 * args.workers:g}): {measuring.spread(ratios)}")


if __name__ == "__main__":
    main()
