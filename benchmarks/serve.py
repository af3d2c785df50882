"""Latency of ``cmlm-kd serve`` at several loads, over the loopback: p50, p95, requests a second, losses.

A load is a number of clients, each of which asks for one text after the other and waits for the answer; they
share one process beside the service's. Without a model it makes a BERT classifier of random weights::

    python benchmarks/serve.py [--model DIR --input FILE] [--clients 1 8 32] [--requests 300]

A request that gets no answer, or another than ``cmlm_kd.load`` gives, is counted; both must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import torch
from measuring import bert_config, make_parser, word_tokenizer
from transformers import BertForSequenceClassification

import cmlm_kd

ROOT = Path(__file__).resolve().parents[1]
WORDS = 200


def write_classifier(folder: Path, layers: int, width: int) -> Path:
    """Write a classifier of random weights, whose classes differ from text to text."""
    torch.manual_seed(1)
    tokenizer = word_tokenizer(WORDS)
    config = bert_config(len(tokenizer), layers, width)
    config.id2label, config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    model = BertForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(folder)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    return folder


def made_up_texts(count: int, length: int) -> list[str]:
    numbers = np.random.default_rng(1).integers(WORDS, size=(count, length))
    return [" ".join(f"w{i}" for i in row) for row in numbers]


@contextmanager
def service(model: Path, threads: int) -> Iterator[str]:
    """Run the service; yields its address, and checks that SIGTERM ends it as it should."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-m", "cmlm_kd", "serve", model, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise SystemExit(f"the service ended with status {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


async def ask(address: str, path: str, texts: list[str], clients: int) -> tuple[list[float], list[object]]:
    """Return the seconds and the answer of each text; None for one that is lost."""
    seconds = [0.0] * len(texts)
    answers: list[object] = [None] * len(texts)
    rows = iter(range(len(texts)))

    async def ask_in_turn(client: httpx.AsyncClient) -> None:
        for row in rows:
            start = time.perf_counter()
            answer = await client.post(path, json={"texts": [texts[row]]})
            seconds[row] = time.perf_counter() - start
            if answer.status_code == 200:
                (answers[row],) = next(iter(answer.json().values()))

    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        await asyncio.gather(*(ask_in_turn(client) for _ in range(clients)))
    return seconds, answers


def main() -> None:
    parser = make_parser(__doc__ or "")
    parser.add_argument("--model", type=Path, help="what 'cmlm-kd export' wrote, or a checkpoint")
    parser.add_argument("--input", type=Path, help="texts for it, one a line")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=300, help="of each load")
    parser.add_argument("--threads", type=int, default=1, help="of the service")
    parser.add_argument("--layers", type=int, default=4, help="of the made-up classifier")
    parser.add_argument("--width", type=int, default=128, help="of the made-up classifier")
    parser.add_argument("--length", type=int, default=20, help="words of a made-up text")
    args = parser.parse_args()
    if (args.model is None) != (args.input is None):
        parser.error("--model and --input go together")
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    model = args.model or write_classifier(folder / "model", args.layers, args.width)
    if args.input is None:
        lines = made_up_texts(args.requests, args.length)
    else:
        lines = [line for line in args.input.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = list(itertools.islice(itertools.cycle(lines), args.requests))
    here = cmlm_kd.load(model)
    if here.task == "translation":
        path, key, wanted = "/translate", "text", here.translate(texts)
    else:
        path, key, wanted = "/classify", "label", [one.label for one in here.classify(texts)]
    with service(model, args.threads) as address:
        asyncio.run(ask(address, path, texts[:8], 1))  # what is loaded late is loaded
        for clients in args.clients:
            start = time.perf_counter()
            seconds, answers = asyncio.run(ask(address, path, texts, clients))
            rate = len(texts) / (time.perf_counter() - start)
            lost = sum(answer is None for answer in answers)
            found = [answer[key] if isinstance(answer, dict) else None for answer in answers]
            others = sum(a != b for a, b in zip(found, wanted, strict=True)) - lost
            middle, late = np.percentile(1000 * np.array(seconds), [50, 95])
            print(
                f"{clients:3d} clients: p50 {middle:.1f} ms, p95 {late:.1f} ms, {rate:.0f} requests/s; lost "
                f"(at most 0): {lost}, other answers (at most 0): {others}"
            )


if __name__ == "__main__":
    main()
