"""What early exits save: a FastBERT at several thresholds against the plain encoder with its classifier.

Prints ratios of times measured in turn in one process (median of the rounds, smallest and largest)::

    python benchmarks/early_exit.py [--layers 12] [--width 384] [--speedups 1.5 2 3 6] [--rounds 5]
    python benchmarks/early_exit.py --model DIR --data DIR --corpus SST-2 [--speed 0.1 0.5 0.8]
    python benchmarks/early_exit.py --traffic sorted [--examples 960]

A model's calibrated threshold is timed too. Without --model the model is made up, with thresholds at which it
needs 1/1.5, 1/2, ... of the operations. The plain encoder is transformers' own sequence classifier of the
same configuration, as transformers makes it. Three kinds of traffic: one text at a time; batches of 32 in the
order of arrival; the same sorted by length; --traffic takes one of them alone.

speed-up    plain / FastBERT, beside that of operations; the goal of their quotient is at least 0.9 one at a
            time and 0.8 in batches of 32. Operations count every text alike, as the paper does; time does
            not, so that it matters which texts leave early. "by length" counts a text of n pieces n times:
            with few texts the two differ by several per cent
speed 0     FastBERT / plain; the goal is at most 1.05
no exits    FastBERT / plain, all branches run and no text leaves; the goal is at most 1.25

From ids to probabilities; tokenizing is left out on both sides.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from cmlm_kd.data.classification import Examples, ReadingOptions, read_examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.early_exit.calibration import exit_curve
from cmlm_kd.early_exit.choices import exit_layers
from cmlm_kd.early_exit.exits import exit_early
from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.early_exit.prediction import classify_at_every_layer
from cmlm_kd.models.fastbert.directory import load_fastbert
from cmlm_kd.models.fastbert.model import FastBERTClassifier

TRAFFIC = {"one at a time": 0.9, "32 as they come": 0.8, "32 by length": 0.8}
"""Kind of traffic -> what the quotient of both speed-ups should reach."""

CHOICES = dict(zip(("single", "arrival", "sorted"), TRAFFIC, strict=True))
"""Value of --traffic -> kind of traffic."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it saves in operations: each text counted once, and as often as it has pieces."""

    speed: float
    operations: float
    by_length: float


def made_up_model(args: Namespace) -> FastBERTClassifier:
    """Return a random model with large weights, so that every text has uncertainties of its own."""
    tokenizer = measuring.word_tokenizer(args.words)
    config = measuring.bert_config(len(tokenizer), args.layers, args.width, num_labels=4)
    model = FastBERTClassifier(config, tokenizer)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.15)
    model.begin_stage("branches")
    return model.for_inference()


def made_up_texts(args: Namespace) -> Examples:
    """Return texts with lengths like those of real traffic: many short ones, few long ones."""
    generator = np.random.default_rng(1)
    lengths = generator.gamma(3.0, args.length / 3.0, args.examples).clip(3, 4 * args.length)
    texts = [" ".join(f"w{i}" for i in generator.integers(0, args.words, int(n))) for n in lengths]
    return Examples(texts, None, None, (), "made up")


def real_texts(args: Namespace, labels: tuple[str, ...]) -> Examples:
    options = ReadingOptions(args.corpus, labels=labels if args.corpus == "text" else ())
    examples = read_examples(args.data, args.split, options)
    count = min(args.examples, len(examples))
    return examples.select(np.random.default_rng(1).permutation(len(examples))[:count])


def plain_encoder(model: FastBERTClassifier) -> Any:
    """Return transformers' own classifier with the same encoder."""
    config = copy.deepcopy(model.config)
    config._attn_implementation = None
    plain = AutoModelForSequenceClassification.from_config(config)
    plain.base_model.load_state_dict(model.encoder.state_dict(), strict=False, assign=True)
    return plain.eval()


def batches_of(encoded: EncodedExamples, traffic: str, device: str) -> list[dict[str, torch.Tensor]]:
    rows = np.arange(len(encoded.sizes))
    if traffic == "32 by length":
        rows = np.argsort(encoded.sizes, kind="stable")
    size = 1 if traffic == "one at a time" else 32
    groups = [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
    return [{name: part.to(device) for name, part in encoded.collate(group).items()} for group in groups]


class Systems:
    """What is timed: the plain encoder, and the FastBERT at each threshold."""

    def __init__(self, model: FastBERTClassifier, device: str) -> None:
        self.model, self.plain = model.to(device), plain_encoder(model).to(device)
        self.types = getattr(model.config, "type_vocab_size", 0) > 1

    @torch.inference_mode()
    def run_plain(self, batches: list[dict[str, torch.Tensor]]) -> None:
        for batch in batches:
            inputs = {name: part for name, part in batch.items() if self.types or name != "token_type_ids"}
            self.plain(**inputs).logits.softmax(-1).argmax(-1).tolist()

    def run(self, batches: list[dict[str, torch.Tensor]], speed: float) -> None:
        for batch in batches:
            exit_early(self.model, **batch, speed=speed).probabilities.argmax(-1).tolist()


def thresholds_of(
    args: Namespace, model: FastBERTClassifier, examples: Examples, sizes: np.ndarray
) -> tuple[list[Threshold], Threshold]:
    """Return the thresholds to time, and one at which nothing leaves early."""
    every = classify_at_every_layer(model, examples, device=args.device)
    flops = FlopCount.of(model.config, model.settings.size)
    if args.model is None:
        nobody_knows = np.zeros(len(examples), np.int64)
        curve = exit_curve(every.uncertainty, every.predictions, nobody_knows, flops)
        # The first point is speed 0, whose speed-up no branch has to earn.
        speeds = [float(curve.thresholds[1 + np.abs(curve.speedup[1:] - x).argmin()]) for x in args.speedups]
    else:
        speeds = list(args.speed) + ([] if model.speed is None else [model.speed])

    def measured(speed: float) -> Threshold:
        layers = exit_layers(every.uncertainty, speed)
        counts = (np.bincount(layers, weights, flops.layers + 1)[1:] for weights in (None, sizes))
        return Threshold(speed, *(flops.speedup(count) for count in counts))

    least = float(every.uncertainty[:, :-1].min())  # of some text it may be 0, but speed 0 is something else
    return [measured(speed) for speed in speeds], measured(max(least / 2, np.finfo(np.float64).tiny))


def report(traffic: str, times: dict[str, np.ndarray], thresholds: list[Threshold], never: Threshold) -> None:
    """Print what was measured of one kind of traffic."""
    goal = TRAFFIC[traffic]
    plain = times["plain"]
    print(f"\n{traffic}: plain encoder {1000 * np.median(plain):.0f} ms")
    print(f"speed 0 / plain (at most 1.05): {measuring.spread(times['0.0'] / plain)}")
    print(f"no exits / plain (at most 1.25): {measuring.spread(times[str(never.speed)] / plain)}")
    for threshold in thresholds:
        faster = plain / times[str(threshold.speed)]
        quotient = measuring.spread(faster / threshold.operations)
        print(
            f"speed {threshold.speed:.4f}: operations {threshold.operations:.2f} times fewer "
            f"({threshold.by_length:.2f} by length), time {measuring.spread(faster)} times shorter; quotient "
            f"(at least {goal}): {quotient}"
        )


def parse_arguments() -> Namespace:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--model", type=Path, help="directory of a self-distilled FastBERT")
    parser.add_argument("--data", type=Path, help="with --model: folder of the corpus")
    parser.add_argument("--corpus", default="text", help="with --model: its name")
    parser.add_argument("--split", default="valid", help="with --model: which texts")
    parser.add_argument("--speed", type=float, nargs="+", default=[0.1, 0.5, 0.8], help="with --model")
    parser.add_argument(
        "--speedups", type=float, nargs="+", default=[1.5, 2.0, 3.0, 6.0], help="without --model"
    )
    parser.add_argument("--layers", type=int, default=12, help="without --model")
    parser.add_argument("--width", type=int, default=384, help="without --model: a multiple of 32")
    parser.add_argument("--length", type=int, default=40, help="without --model: mean pieces of a text")
    parser.add_argument("--words", type=int, default=30_000, help="without --model: vocabulary")
    parser.add_argument("--examples", type=int, default=192, help="texts of a round")
    parser.add_argument("--traffic", choices=list(CHOICES), help="this kind alone; default: all three")
    parser.add_argument("--rounds", type=int, default=5)
    measuring.add_device_options(parser, bf16=False)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    clock = measuring.begin(args)
    model = made_up_model(args) if args.model is None else load_fastbert(args.model)
    examples = made_up_texts(args) if args.model is None else real_texts(args, model.labels)
    systems = Systems(model, args.device)
    encoded = EncodedExamples(examples, model.inputs)
    thresholds, never = thresholds_of(args, model, examples, encoded.sizes)
    print(
        f"{len(model.layers)} layers, d={model.config.hidden_size}, {len(examples)} texts of "
        f"{np.median(encoded.sizes):.0f} pieces (median, at most {encoded.sizes.max()}), float32, "
        f"{args.device}, {torch.get_num_threads()} threads"
    )
    speeds = [0.0, never.speed, *(threshold.speed for threshold in thresholds)]
    for traffic in TRAFFIC if args.traffic is None else [CHOICES[args.traffic]]:
        batches = batches_of(encoded, traffic, args.device)
        actions = {"plain": partial(systems.run_plain, batches)}
        actions |= {str(speed): partial(systems.run, batches, speed) for speed in speeds}
        report(traffic, measuring.in_turn(actions, args.rounds, clock), thresholds, never)


if __name__ == "__main__":
    main()
