"""A whole training of a distilled student against stock fairseq's of the same student: time and peak memory.

Everything counts, from the start of ``fairseq-train`` to its last checkpoint: imports, data loading, updates,
validations. Each training is a process of its own, round by round in turn::

    python benchmarks/training.py [--updates 500] [--rounds 1] [--threads 1] [--float32]

stock      ``--task translation --criterion label_smoothed_cross_entropy --optimizer adam``
distilled  ``--task translation_kd --criterion soft_target_kd --optimizer fused_adam`` and, where the CPU has
           bfloat16 instructions and --float32 is not given, ``--bf16-autocast``

Both have 3+3 layers of d = 256, 16,000 entries, and the same pairs in the same batches. A target says the
words of its source backwards; the store is a stand-in teacher's, who gives the right word most of its mass.
The two losses on validation data are printed before the ratios; neither is a result, both must have fallen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import measuring
import numpy as np

from cmlm_kd.fairseq_files.databin import Databin, write_databin
from cmlm_kd.store import Corpus, ShardRows, StoreHeader, StoreWriter
from cmlm_kd.system.environment import native_bfloat16

ROOT = Path(__file__).resolve().parents[1]
TOP_K, EOS, FIRST_WORD = 8, 2, 4
VALIDATION_PAIRS = 500


def write_data(folder: Path, split: str, pairs: int, vocabulary: int, seed: int) -> None:
    """Write pairs of 4 to 60 tokens, 15 on average, whose words are common or rare as in text."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(2.6, 0.4, pairs).astype(int), 4, 60)
    chances = 1.0 / np.arange(1, vocabulary - FIRST_WORD + 1)  # (V-4,)
    words = FIRST_WORD + generator.choice(len(chances), int(lengths.sum()), p=chances / chances.sum())
    sentences = np.split(words, np.cumsum(lengths)[:-1])
    for language, step in (("de", 1), ("en", -1)):
        rows = [np.append(sentence[::step], EOS) for sentence in sentences]
        write_databin(folder / f"{split}.de-en.{language}", rows, vocabulary)
        entries = "".join(f"w{i} 1\n" for i in range(vocabulary - FIRST_WORD))
        (folder / f"dict.{language}.txt").write_text(entries, encoding="utf-8")


def write_store(path: Path, data: Path, vocabulary: int, shard_rows: int = 4096) -> None:
    """Write what a stand-in teacher says of every target token: mostly the right word."""
    corpus, targets = Corpus.of_databin(data, "train", "de", "en"), Databin.open(data / "train.de-en.en")
    header = StoreHeader(
        rows=len(targets),
        k=TOP_K,
        tail_temperatures=(1.0,),
        vocabulary_size=vocabulary,
        dictionary_hash=corpus.dictionary_hash,
        corpus_hash=corpus.corpus_hash,
        teacher_hash="0" * 64,
        shard_rows=shard_rows,
    )
    generator = np.random.default_rng(1)
    with StoreWriter.create_or_resume(path, header) as writer:
        for plan in writer.pending_shards():
            rows = [targets[row] for row in range(plan.first_row, plan.first_row + plan.rows)]
            gold = np.concatenate(rows)  # (tokens,)
            # Seven neighbours in a row, wherever they begin: no word comes twice.
            begin = generator.integers(1, vocabulary - FIRST_WORD - TOP_K, (len(gold), 1))  # (tokens, 1)
            others = gold[:, None] - FIRST_WORD + begin + np.arange(TOP_K - 1)  # (tokens, k-1)
            others = FIRST_WORD + others % (vocabulary - FIRST_WORD)  # (tokens, k-1)
            logits = -np.sort(-generator.normal(0, 1, (len(gold), TOP_K - 1)), axis=1)  # (tokens, k-1)
            writer.write_shard(
                plan,
                ShardRows(
                    np.array([len(row) for row in rows]),
                    np.concatenate([gold[:, None], others], axis=1),
                    np.concatenate([np.full((len(gold), 1), 6.0), logits], axis=1).astype(np.float16),
                    np.zeros((len(gold), 1), np.float16),
                ),
            )
        writer.finish()


class Outcome(NamedTuple):
    """What a training took, and its last loss on validation data, in bits per token."""

    seconds: float
    cpu_seconds: float
    peak: float  # bytes
    loss: float
    first_loss: float


def flags(args: Namespace, data: Path, save_dir: Path) -> list[str]:
    """Return what both trainings share."""
    sizes = {"embed-dim": args.width, "ffn-embed-dim": 4 * args.width, "layers": args.layers}
    sizes["attention-heads"] = 4
    shape = [f"--{side}-{name}={value}" for side in ("encoder", "decoder") for name, value in sizes.items()]
    half = max(1, args.updates // 2)
    words = (
        f"{data} --arch transformer --share-decoder-input-output-embed --dropout 0.1 --label-smoothing 0.1 "
        f"--lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates {max(1, args.updates // 5)} --clip-norm 1 "
        f"--adam-betas (0.9,0.98) --max-tokens {args.max_tokens} --max-update {args.updates} --seed 1 --cpu "
        f"--required-batch-size-multiple 1 --num-workers {args.workers} --no-epoch-checkpoints "
        f"--validate-interval-updates {half} --save-dir {save_dir} --log-format json --log-interval 50 "
        f"--log-file {save_dir.with_suffix('.log')}"
    )
    return [*words.split(), *shape]


def kinds(args: Namespace, folder: Path) -> dict[str, list[str]]:
    """Return what tells the two trainings apart."""
    student = f"--user-dir {ROOT / 'fairseq_plugins'} --task translation_kd --soft-targets {folder / 'store'}"
    student += f" --criterion soft_target_kd --kd-topk {TOP_K} --kd-temperature 1 --optimizer fused_adam"
    if args.bf16:
        student += " --bf16-autocast"
    stock = "--task translation --criterion label_smoothed_cross_entropy --optimizer adam"
    return {"stock": stock.split(), "distilled": student.split()}


def train(args: Namespace, folder: Path, name: str, more: list[str]) -> Outcome:
    """Run one training to its end."""
    save_dir = Path(tempfile.mkdtemp(prefix=name, dir=folder))
    command = [sys.executable, "-m", "fairseq_cli.train", *flags(args, folder / "data", save_dir), *more]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(args.threads)}
    printed = save_dir.with_suffix(".out")
    start = time.perf_counter()
    with printed.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed:\n{printed.read_text()[-2000:]}")
    losses = validation_losses(save_dir.with_suffix(".log"))
    return Outcome(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0, losses[-1], losses[0])


def validation_losses(log: Path) -> list[float]:
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        _, brace, rest = line.partition("{")
        if brace and "valid_nll_loss" in rest:
            found.append(float(json.loads(brace + rest)["valid_nll_loss"]))
    return found


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="of the data loader; fairseq's default is 1")
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--float32", action="store_true", help="no bfloat16 for the distilled student")
    args = parser.parse_args()
    args.bf16 = bool(native_bfloat16()) and not args.float32
    precision = "bfloat16 autocast" if args.bf16 else "float32"
    print(f"{args.updates} updates, V={args.vocabulary}, d={args.width}, distilled in {precision}")
    outcomes: dict[str, list[Outcome]] = {"stock": [], "distilled": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        write_data(folder / "data", "train", args.pairs, args.vocabulary, seed=1)
        write_data(folder / "data", "valid", min(args.pairs, VALIDATION_PAIRS), args.vocabulary, seed=2)
        write_store(folder / "store", folder / "data", args.vocabulary)
        for number in range(args.rounds):
            for kind, more in list(kinds(args, folder).items())[:: -1 if number % 2 else 1]:
                outcomes[kind].append(train(args, folder, kind, more))
    for kind, found in outcomes.items():
        last = found[-1]
        print(
            f"{kind:<10} {last.seconds:.0f} s, {last.cpu_seconds:.0f} s of CPU, {last.peak / 2**20:.0f} MiB, "
            f"validation {last.first_loss:.2f} -> {last.loss:.2f} bits per token"
        )
    pairs = list(zip(outcomes["distilled"], outcomes["stock"], strict=True))
    goal = 0.45 if args.bf16 else 0.7
    for label, field, bound in (
        ("time", "seconds", goal),
        ("CPU time", "cpu_seconds", goal),
        ("peak memory", "peak", 0.5),
    ):
        ratios = measuring.spread(getattr(ours, field) / getattr(stock, field) for ours, stock in pairs)
        print(f"whole training, {label}, distilled / stock (at most {bound}): {ratios}")


if __name__ == "__main__":
    main()
