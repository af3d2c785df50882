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

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import measuring
import numpy as np
import torch
from transformers import AutoModel, BertConfig, DistilBertConfig

from cmlm_kd.models.bottleneck_bert import MOBILEBERT, new_mobilebert

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


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--students", nargs="+", choices=[*SHAPES][1:], default=[*SHAPES][1:])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--length", type=int, default=128, help="pieces a sentence, no padding")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before those that count")
    parser.add_argument("--threads", type=int, help="of torch; default: as many as it takes")
    measuring.add_device_options(parser)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    clock = measuring.begin(args)
    names = [TEACHER, *args.students]
    models = {name: SHAPES[name].make().eval().to(args.device) for name in names}
    for name, model in models.items():
        print(f"{name:11} {millions(model):6.1f} M parameters, paper {SHAPES[name].millions:g} M")
    where = f"{args.device}, {torch.get_num_threads()} threads, {'bfloat16' if args.bf16 else 'float32'}"
    for size in args.batch_sizes:
        batch = torch.randint(PIECES, (size, args.length), device=args.device)
        forwards = {name: partial(model, input_ids=batch) for name, model in models.items()}
        with torch.inference_mode(), measuring.autocast(args):
            times = measuring.in_turn(forwards, args.rounds, clock, args.warm_up)
        teacher = times[TEACHER]
        print(f"\n{size} x {args.length} pieces, {where}: {TEACHER} {1000 * np.median(teacher):.1f} ms")
        for name in args.students:
            shape, faster = SHAPES[name], measuring.spread(teacher / times[name], percentiles=True)
            print(
                f"{name:11} {1000 * np.median(times[name]):8.1f} ms  times as fast {faster}, "
                f"paper {shape.speed:g} ({shape.hardware})"
            )


if __name__ == "__main__":
    main()
