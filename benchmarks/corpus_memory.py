"""Whether memory grows with the text: the peak of a training on a small corpus and on a big one.

Each size is a process of its own: text is written down in pieces, then a student makes some updates in each
of equally many epochs, of which each reads a shard::

    python benchmarks/corpus_memory.py [--megabytes 10 1000] [--epochs 60] [--updates-an-epoch 2]

A training's memory rises during its first dozens of updates, whatever the corpus (see --epochs 1): that is
why corpora of all sizes are given the same epochs. These must be no fewer than the biggest one has shards.

The peaks of the resident memory are printed, and how much more the biggest corpus took than the smallest; the
goal is at most 5 %. Cutting 1 GB of text takes minutes a core.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

WORDS = 20_000


def write_text(path: Path, megabytes: float) -> None:
    """Write lines of 5 to 60 made-up words, common ones rather than rare ones."""
    generator = np.random.default_rng(1)
    names = np.array([f"w{i}" for i in range(WORDS)])
    chances = 1.0 / np.arange(1, WORDS + 1)  # (WORDS,)
    chances /= chances.sum()
    left = megabytes * 1e6
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            words = names[generator.choice(WORDS, 200_000, p=chances)].tolist()
            start = 0
            while start < len(words) and left > 0:
                stop = start + int(generator.integers(5, 61))
                left -= file.write(" ".join(words[start:stop]) + "\n")
                start = stop


def train(folder: Path, epochs: int, updates: int) -> str:
    """Make some updates in each epoch; returns what was done, with the peak."""
    import measuring
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    from cmlm_kd.api.needs import NOTHING_ELSE
    from cmlm_kd.models.masked_lm import BertSizes, MaskedLM
    from cmlm_kd.tokenization.pieces import PieceTokenizer
    from fairseq_plugins.data.unlabelled_text import UnlabelledText, UnlabelledTextConfig

    vocabulary = {word: i for i, word in enumerate([*measuring.SPECIAL, *(f"w{i}" for i in range(WORDS))])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PieceTokenizer(measuring.fast_tokenizer(backend))
    values = {**vars(UnlabelledTextConfig()), "data": str(folder), "save_dir": str(folder), "seed": 1}
    text = UnlabelledText(Namespace(**values), tokenizer)
    model = MaskedLM.from_sizes(BertSizes(layers=1, hidden_size=64, positions=128), tokenizer)
    optimizer = torch.optim.AdamW(model.parameters())
    shards = text.open("train", 126).shards
    if shards > epochs:
        raise SystemExit(f"{epochs} epochs don't read {shards} shards; pass --epochs {shards}")
    data = None
    for epoch in range(1, epochs + 1):
        del data
        data = text.dataset("train", epoch, 126)
        data.set_epoch(epoch)
        batches = data.batch_by_size(data.ordered_indices(), max_tokens=2048)
        for rows in batches[:: max(1, -(-len(batches) // updates))]:
            batch = data.collater([data[row] for row in rows])
            output = model.observe(**batch["net_input"], request=NOTHING_ELSE)
            loss = torch.nn.functional.cross_entropy(output.vocabulary_logits(), batch["target"])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{peak:.0f} MiB at the peak, {shards} shards, {len(text.open('train', 126)):,} rows"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, nargs="+", default=[10.0, 1000.0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--updates-an-epoch", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        print(train(args.folder, args.epochs, args.updates_an_epoch))
        return
    peaks = []
    for megabytes in args.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            write_text(Path(folder) / "train.txt", megabytes)
            command = [sys.executable, __file__, "--folder", folder, "--epochs", str(args.epochs)]
            command += ["--updates-an-epoch", str(args.updates_an_epoch)]
            start = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        printed = done.stdout.strip().splitlines()[-1]
        print(f"{megabytes:g} MB: {printed}, {time.perf_counter() - start:.0f} s", flush=True)
        peaks.append(float(printed.split()[0]))
    print(f"memory of the biggest / the smallest (at most 1.05): {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
