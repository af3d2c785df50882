"""How time and memory grow with the corpus: each stage at several numbers of pairs, made on the spot.

    python benchmarks/growth.py [--pairs 10000 40000 160000] [--stages ...] [--plot growth.png] [--json FILE]

prepare   text to a data-bin in a teacher's tokens
plan      what a dump does before its first shard: open the data-bin, hash it, plan the store
store     write a store by a stand-in teacher, who needs no time to think
open      open the store and compare every byte with its checksums
start     what a training does before its first update: task, data, store, batches of the first epoch
merge     four workers' parts into one store

Each stage at each size is a process of its own. Printed are its CPU time and its peak memory, then two
slopes: how time grows (the exponent of a power law, 1 is proportional) and bytes of memory per pair. The goal
for the memory of the largest corpus is at most 1.05 times that of the smallest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import measuring
import numpy as np

STAGES = ("prepare", "plan", "store", "open", "start", "merge")
AFTER_STORE = ("open", "start", "merge")
"""Stages that read what ``store`` has written; all read what ``prepare`` has."""
PARTS = 4
BLOCK = 50_000  # pairs that are made at once, so that making them takes no memory


def write_text(folder: Path, pairs: int, words: int) -> None:
    """Write pairs of 4 to 60 words, 14 on average, common ones rather than rare ones."""
    generator = np.random.default_rng(1)
    names = np.array([f"w{i}" for i in range(words)])
    chances = 1.0 / np.arange(1, words + 1)  # (words,)
    chances /= chances.sum()
    with (folder / "train.de").open("w") as source, (folder / "train.en").open("w") as target:
        for start in range(0, pairs, BLOCK):
            count = min(BLOCK, pairs - start)
            lengths = np.clip(generator.lognormal(2.5, 0.5, count).astype(int), 4, 60)
            drawn = names[generator.choice(words, int(lengths.sum()), p=chances)]
            for line in np.split(drawn, np.cumsum(lengths)[:-1]):
                source.write(" ".join(line) + "\n")
                target.write(" ".join(line[::-1]) + "\n")
    for language in ("de", "en"):
        (folder / f"valid.{language}").write_text("w1 w2 w3\n")


def write_tokenizer(folder: Path, words: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([*measuring.SPECIAL, *(f"w{i}" for i in range(words))])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    measuring.fast_tokenizer(backend).save_pretrained(folder / "tokenizer")


# -- stages: each takes the folder of its corpus and returns what is to be measured ------------------------


def prepare(folder: Path) -> Callable[[], object]:
    from cmlm_kd.cli import main

    words = [
        "prepare",
        "--teacher",
        folder / "tokenizer",
        "-s",
        "de",
        "-t",
        "en",
        "--destdir",
        folder / "data",
    ]
    words += ["--trainpref", folder / "train", "--validpref", folder / "valid"]
    return lambda: main([str(word) for word in words])


def header_of(folder: Path) -> object:
    from cmlm_kd.fairseq_files.databin import corpus_hash, dictionary_hash
    from cmlm_kd.store import StoreHeader
    from cmlm_kd.teachers.dump import open_corpus

    corpus = open_corpus(folder / "data", "train")
    return corpus, StoreHeader(
        rows=len(corpus.target),
        k=8,
        tail_temperatures=(1.0, 10.0),
        vocabulary_size=corpus.data.vocabulary,
        dictionary_hash=dictionary_hash(corpus.data.dictionary("en")),
        corpus_hash=corpus_hash(corpus.source, corpus.target),
        teacher_hash="0" * 64,
    )


def plan(folder: Path) -> Callable[[], object]:
    import cmlm_kd.teachers.dump  # noqa: F401 - what it imports is not to be measured

    return lambda: header_of(folder)[1].plan()


def store(folder: Path) -> Callable[[], object]:
    """Write the whole store and, in turns, the parts of several workers."""
    from store import make_rows

    import cmlm_kd.teachers.dump  # noqa: F401 - as above
    from cmlm_kd.store import StoreWriter

    def run() -> None:
        corpus, header = header_of(folder)
        generator = np.random.default_rng(1)
        writers = [StoreWriter.create_or_resume(folder / f"part{i}", header) for i in range(PARTS)]
        with StoreWriter.create_or_resume(folder / "store", header) as whole:
            for each in whole.pending_shards():
                lengths = corpus.target.sizes[each.first_row : each.first_row + each.rows]
                rows = make_rows(generator, lengths, header.vocabulary_size, header.k)
                whole.write_shard(each, rows)
                writers[each.index % PARTS].write_shard(each, rows)
            whole.finish()
        for writer in writers:
            writer.close()

    return run


def open_(folder: Path) -> Callable[[], object]:
    from cmlm_kd.store import SoftTargetStore

    return lambda: SoftTargetStore.open(folder / "store", checksums=True)


def merge(folder: Path) -> Callable[[], object]:
    from cmlm_kd.store import merge_parts

    return lambda: merge_parts([folder / f"part{i}" for i in range(PARTS)], folder / "merged")


def start(folder: Path) -> Callable[[], object]:
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    plugin = Path(__file__).resolve().parents[1] / "fairseq_plugins"
    words = [folder / "data", "--user-dir", plugin, "--task", "translation_kd", "--soft-targets"]
    words += [
        folder / "store",
        "--criterion",
        "soft_target_kd",
        "--arch",
        "transformer",
        "--max-tokens",
        4096,
    ]
    parsed = options.parse_args_and_arch(options.get_training_parser(), [str(word) for word in words])
    whole = convert_namespace_to_omegaconf(parsed)

    def run() -> object:
        task = tasks.setup_task(whole.task)
        task.build_criterion(whole.criterion)
        task.load_dataset("train", epoch=1)
        batches = task.get_batch_iterator(task.dataset("train"), max_tokens=4096, seed=1, epoch=1)
        return next(iter(batches.next_epoch_itr(shuffle=True)))

    return run


ACTIONS = dict(zip(STAGES, (prepare, plan, store, open_, start, merge), strict=True))


# -- measuring ---------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """One stage at one size."""

    seconds: float  # CPU time
    peak: float  # bytes, of the whole process


def measure(stage: str, folder: Path) -> Measured:
    action = ACTIONS[stage](folder)
    began = time.process_time()
    action()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(seconds, peak * 1024.0)


def in_process(stage: str, folder: Path) -> Measured:
    command = [sys.executable, __file__, "--one", stage, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{stage} failed:\n{done.stderr[-2000:]}")
    return Measured(*json.loads(done.stdout.strip().splitlines()[-1]))


def needed(stages: list[str]) -> list[str]:
    """Return the stages that must run, in order: those asked for, and those whose files they read."""
    first = {"prepare", *(["store"] if set(stages) & set(AFTER_STORE) else [])}
    return [stage for stage in STAGES if stage in {*stages, *first}]


def slope(sizes: list[int], values: list[float]) -> float:
    """Return the exponent of the power law through the points, 0 of a constant."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0])


def report(stage: str, sizes: list[int], found: list[Measured]) -> None:
    if len(sizes) < 2:
        return
    grown = (found[-1].peak - found[0].peak) / (sizes[-1] - sizes[0])
    time_slope = slope(sizes, [each.seconds for each in found])
    print(f"{stage:<8} time ~ pairs^{time_slope:.2f}, {grown:.0f} bytes per pair")
    ratio = found[-1].peak / found[0].peak
    print(f"{stage}: memory of the largest / the smallest corpus (at most 1.05): {ratio:.3f}", flush=True)


def plot(path: Path, sizes: list[int], found: dict[str, list[Measured]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    for stage, each in found.items():
        left.loglog(sizes, [one.seconds for one in each], marker="o", label=stage)
        right.semilogx(sizes, [one.peak / 2**20 for one in each], marker="o")
    left.set(xlabel="pairs", ylabel="CPU time, s")
    right.set(xlabel="pairs", ylabel="peak memory, MiB")
    left.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 40_000, 160_000])
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.folder)))
        return
    sizes = sorted(args.pairs)
    found: dict[str, list[Measured]] = {stage: [] for stage in needed(args.stages)}
    for pairs in sizes:
        with tempfile.TemporaryDirectory() as name:
            write_tokenizer(Path(name), args.vocabulary)
            write_text(Path(name), pairs, args.vocabulary)
            for stage in found:
                found[stage].append(in_process(stage, Path(name)))
                seconds, peak = found[stage][-1]
                print(f"{stage:<8} {pairs:>9,} pairs: {seconds:8.2f} s, {peak / 2**20:6.0f} MiB", flush=True)
    for stage in args.stages:
        report(stage, sizes, found[stage])
    if args.plot:
        plot(args.plot, sizes, found)
    if args.json:
        args.json.write_text(json.dumps({"pairs": sizes, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
