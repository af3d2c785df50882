"""How time and memory grow with the corpus: each stage at several numbers of pairs, made on the spot.

    python benchmarks/growth.py [--pairs 10000 40000 160000] [--stages ...] [--plot growth.png] [--json FILE]

prepare   text to a data-bin in a teacher's tokens
plan      what a dump does before its first shard: open the data-bin, hash it, plan the store
store     write a store by a stand-in teacher, who needs no time to think
open      open the store and compare every byte with its checksums
start     what a training does before its first update: task, data, store, batches of the first epoch
merge     four workers' parts into one store

Each stage at each size is a process of its own. Printed are its CPU time and its peak memory: all that is
resident, and what of it is the process's own, without pages of mapped files, which the system takes back when
others need memory. Then two slopes: how time grows (the exponent of a power law, 1 is proportional) and bytes
of memory per pair. The goal for the memory of the largest corpus is at most 1.05 times that of the smallest.

At the end the speed of prepare against the tokenizer alone, which encodes the same lines in batches, in the
same process with the same threads, on --speed-pairs of text whose words come as often as those of real text.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
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

from cmlm_kd.system.text import read_lines

STAGES = ("prepare", "plan", "store", "open", "start", "merge")
AFTER_STORE = ("open", "start", "merge")
"""Stages that read what ``store`` has written; all read what ``prepare`` has."""
PARTS = 4
LENGTH = 12.0  # words, the median; 14 on average
SPEED_WORDS = 200_000  # of which the tokenizer knows a tenth as one piece
BATCH = 4_000  # lines that the tokenizer encodes at once, as prepare has them encoded
BLOCK = 50_000  # pairs that are made at once, so that making them takes no memory


def write_text(folder: Path, pairs: int, words: int, length: float = LENGTH) -> None:
    """Write pairs of 2 to 60 words, ``length`` the median, common words rather than rare ones."""
    generator = np.random.default_rng(1)
    names = np.array([f"w{i}" for i in range(words)])
    chances = 1.0 / np.arange(1, words + 1)  # (words,)
    chances /= chances.sum()
    with (folder / "train.de").open("w") as source, (folder / "train.en").open("w") as target:
        for start in range(0, pairs, BLOCK):
            count = min(BLOCK, pairs - start)
            lengths = np.clip(generator.lognormal(np.log(length), 0.5, count).astype(int), 2, 60)
            drawn = names[generator.choice(words, int(lengths.sum()), p=chances)]
            for line in np.split(drawn, np.cumsum(lengths)[:-1]):
                source.write(" ".join(line) + "\n")
                target.write(" ".join(line[::-1]) + "\n")
    for language in ("de", "en"):
        (folder / f"valid.{language}").write_text("w1 w2 w3\n")


def write_tokenizer(folder: Path, words: int) -> None:
    """Write BERT's pipeline with the commonest words as pieces; the others are one of them and digits."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = [*measuring.SPECIAL, *(f"##{digit}" for digit in range(10)), *(f"w{i}" for i in range(words))]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    measuring.fast_tokenizer(backend).save_pretrained(folder / "tokenizer")


# -- stages: each takes the folder of its corpus and returns what is to be measured ------------------------


def prepare(folder: Path) -> Callable[[], object]:
    return lambda: prepare_into(folder / "data", folder)


def prepare_into(data: Path, folder: Path) -> None:
    from cmlm_kd.cli import main

    words = ["prepare", "--teacher", folder / "tokenizer", "-s", "de", "-t", "en", "--destdir", data]
    words += ["--trainpref", folder / "train", "--validpref", folder / "valid"]
    main([str(word) for word in words])


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
    """Write the whole store."""
    from store import make_rows

    import cmlm_kd.teachers.dump  # noqa: F401 - as above
    from cmlm_kd.store import StoreWriter

    def run() -> None:
        corpus, header = header_of(folder)
        generator = np.random.default_rng(1)
        with StoreWriter.create_or_resume(folder / "store", header) as whole:
            for each in whole.pending_shards():
                lengths = corpus.target.sizes[each.first_row : each.first_row + each.rows]
                whole.write_shard(each, make_rows(generator, lengths, header.vocabulary_size, header.k))
            whole.finish()

    return run


def open_(folder: Path) -> Callable[[], object]:
    from cmlm_kd.store import SoftTargetStore

    return lambda: SoftTargetStore.open(folder / "store", checksums=True)


def merge(folder: Path) -> Callable[[], object]:
    """Merge parts, which are made of the whole store's shards beforehand."""
    from cmlm_kd.store import SoftTargetStore, StoreWriter, merge_parts

    manifest = SoftTargetStore.open(folder / "store").manifest
    for index in range(PARTS):
        with StoreWriter.create_or_resume(folder / f"part{index}", manifest.header) as writer:
            for each in manifest.header.plan()[index::PARTS]:
                writer.copy_shard(each, manifest.shards[each.index], folder / "store")
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
    own: float  # bytes of them that belong to no file


def measure(stage: str, folder: Path) -> Measured:
    action = ACTIONS[stage](folder)
    began = time.process_time()
    with measuring.Watch("RssAnon") as own:
        action()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(seconds, peak * 1024.0, own.peak)


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
    time_slope = slope(sizes, [each.seconds for each in found])
    grown, own = (
        (getattr(found[-1], name) - getattr(found[0], name)) / (sizes[-1] - sizes[0])
        for name in ("peak", "own")
    )
    print(f"{stage:<8} time ~ pairs^{time_slope:.2f}, {grown:.0f} bytes per pair, {own:.0f} of them its own")
    for what, ratio in (
        ("memory", found[-1].peak / found[0].peak),
        ("memory of its own", found[-1].own / found[0].own),
    ):
        print(f"{stage}: {what}, the largest / the smallest corpus (at most 1.05): {ratio:.3f}", flush=True)


def report_speed(folder: Path, pairs: int, rounds: int, vocabulary: int) -> None:
    """Print how fast prepare is against the tokenizer alone."""
    from transformers import AutoTokenizer

    write_tokenizer(folder, vocabulary)
    write_text(folder, pairs, SPEED_WORDS)
    backend = AutoTokenizer.from_pretrained(folder / "tokenizer").backend_tokenizer
    lines = [line for language in ("de", "en") for line in read_lines(folder / f"train.{language}")]
    places = (folder / f"data{number}" for number in itertools.count())

    def encode() -> None:
        for start in range(0, len(lines), BATCH):
            backend.encode_batch(lines[start : start + BATCH])

    def whole() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            prepare_into(next(places), folder)

    spent = measuring.in_turn({"tokenizer": encode, "prepare": whole}, rounds, time.process_time)
    rate = measuring.spread(pairs / spent["prepare"], 0)
    print(f"prepare, {pairs:,} pairs: {rate} pairs a second of CPU time")
    ratio = measuring.spread(spent["tokenizer"] / spent["prepare"])
    print(f"prepare: speed / the tokenizer's own in batches (at least 0.7): {ratio}", flush=True)


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
    parser.add_argument("--length", type=float, default=LENGTH, help="words of a sentence, the median")
    parser.add_argument("--speed-pairs", type=int, default=50_000, help="0: leave the speed out")
    parser.add_argument("--rounds", type=int, default=3, help="of the speed")
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
            write_text(Path(name), pairs, args.vocabulary, args.length)
            for stage in found:
                found[stage].append(in_process(stage, Path(name)))
                seconds, *memory = found[stage][-1]
                peak, own = (number / 2**20 for number in memory)
                print(
                    f"{stage:<8} {pairs:>10,} pairs: {seconds:8.2f} s, {peak:6.0f} MiB, own {own:6.0f}",
                    flush=True,
                )
    for stage in args.stages:
        report(stage, sizes, found[stage])
    if args.plot:
        plot(args.plot, sizes, found)
    if args.speed_pairs:
        with tempfile.TemporaryDirectory() as name:
            report_speed(Path(name), args.speed_pairs, args.rounds, args.vocabulary)
    if args.json:
        args.json.write_text(json.dumps({"pairs": sizes, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
