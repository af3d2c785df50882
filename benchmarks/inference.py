"""What students of BERT-base save: parameters, and time of a forward, beside what their papers report.

Teacher and students have the papers' shapes and random weights: time does not depend on what was learned. In
every round all models read one batch in turn; a ratio is the teacher's time over the student's in the same
round::

    python benchmarks/inference.py [--batch-sizes 1 32] [--length 128] [--rounds 20] [--threads 1]
    [--bf16] [--device cuda]

For each student: millions of parameters of the encoder beside the paper's, and "times as fast" as the median
of the rounds (10th to 90th percentile) beside the paper's figure, whose hardware was another: DistilBERT's is
from a CPU at batch size 1, TinyBERT's from a GPU, MobileBERT's from a phone, for which it was designed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, BertConfig, DistilBertConfig

from cmlm_kd.students.bottleneck_bert import MOBILEBERT, new_mobilebert

PIECES = 30522


@dataclass(frozen=True)
class Shape:
    """An encoder of a paper.

    Attributes:
        make: returns it, with random weights.
        millions: of its parameters, as the paper has it.
        speed: how many times as fast as BERT-base, as the paper has it.
        hardware: where that was measured.
    """

    make: Callable[[], Any]
    millions: float
    speed: float = 1.0
    hardware: str = ""


def bert(**sizes: int) -> Any:
    return AutoModel.from_config(BertConfig(vocab_size=PIECES, **sizes))


SHAPES = {
    "BERT-base": Shape(bert, 109.0),
    "DistilBERT": Shape(lambda: AutoModel.from_config(DistilBertConfig(vocab_size=PIECES)), 66.0, 1.6, "CPU"),
    "TinyBERT4": Shape(
        lambda: bert(num_hidden_layers=4, hidden_size=312, intermediate_size=1200), 14.5, 9.4, "GPU"
    ),
    "TinyBERT6": Shape(lambda: bert(num_hidden_layers=6), 67.0, 2.0, "GPU"),
    "MobileBERT": Shape(lambda: new_mobilebert(MOBILEBERT, PIECES, 0).base_model, 25.3, 5.5, "phone"),
}
TEACHER = "BERT-base"


def millions(model: torch.nn.Module) -> float:
    """Return how many million parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def measure(
    models: dict[str, torch.nn.Module], batch: torch.Tensor, args: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the seconds of each model's forward, round by round, in alternating order, warmed up before."""
    times: dict[str, list[float]] = {name: [] for name in models}
    narrow = torch.autocast(args.device, torch.bfloat16) if args.bf16 else contextlib.nullcontext()
    clock = time.process_time if args.cpu_time else time.perf_counter

    def now() -> float:
        if args.device == "cuda":
            torch.cuda.synchronize()
        return clock()

    with torch.inference_mode(), narrow:
        for round_ in range(-args.warm_up, args.rounds):
            for name in models if round_ % 2 else reversed(models):
                start = now()
                models[name](input_ids=batch)
                if round_ >= 0:
                    times[name].append(now() - start)
    return times


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return f"{statistics.median(values):.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--students", nargs="+", choices=[*SHAPES][1:], default=[*SHAPES][1:])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--length", type=int, default=128, help="pieces a sentence, no padding")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before those that count")
    parser.add_argument("--threads", type=int, help="of torch; default: as many as it takes")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (autocast)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of one thread, for a machine with other work"
    )
    args = parser.parse_args()
    torch.manual_seed(1)
    if args.threads or args.cpu_time:
        torch.set_num_threads(1 if args.cpu_time else args.threads)
    names = [TEACHER, *args.students]
    models = {name: SHAPES[name].make().eval().to(args.device) for name in names}
    for name, model in models.items():
        print(f"{name:11} {millions(model):6.1f} M parameters, paper {SHAPES[name].millions:g} M")
    where = f"{args.device}, {torch.get_num_threads()} threads, {'bfloat16' if args.bf16 else 'float32'}"
    for size in args.batch_sizes:
        batch = torch.randint(PIECES, (size, args.length), device=args.device)
        times = measure(models, batch, args)
        teacher = times[TEACHER]
        print(
            f"\n{size} x {args.length} pieces, {where}: {TEACHER} {1000 * statistics.median(teacher):.1f} ms"
        )
        for name in args.students:
            ratios = [slow / fast for slow, fast in zip(teacher, times[name], strict=True)]
            shape = SHAPES[name]
            print(
                f"{name:11} {1000 * statistics.median(times[name]):8.1f} ms  times as fast {spread(ratios)}, "
                f"paper {shape.speed:g} ({shape.hardware})"
            )


if __name__ == "__main__":
    main()
