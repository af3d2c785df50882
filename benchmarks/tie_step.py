"""What tie_kd costs: its training step against soft_target_kd's and one forward of the teacher.

Prints ratios of times measured in turn in one process (median, and the 10th to 90th percentile)::

    python benchmarks/tie_step.py [--bf16] [--device cuda] [--vocabulary 32000] [--iterations 1 3]

step      forward, loss, backward and Adam of a 3+3-layer transformer beside a 6+6-layer teacher, d = 256 in
          both: the step of tie_kd and the teacher's forward in each iteration, over the step of
          soft_target_kd and one forward of the teacher with its logits
"""

from __future__ import annotations

from argparse import Namespace

import kd_step
import measuring
import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.optim.adam import Adam
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.soft_target import SoftTargetConfig
from cmlm_kd.criteria.tie import TieConfig
from fairseq_plugins.models.encoding import with_history
from fairseq_plugins.models.output_layer import find_projection, without_output_layer


class Teacher:
    """A translator beside the student; its soft targets are made up, their cost is the same."""

    def __init__(self, model: torch.nn.Module, sample: dict) -> None:
        self.model, self.inputs = model, sample["net_input"]
        self.soft_targets = TeacherSignal.from_batch(sample["teacher"])
        self.positions = torch.arange(sample["ntokens"], device=sample["target"].device)

    @torch.no_grad()
    def best_entries(self) -> TeacherSignal:
        self.model(**self.inputs)
        return self.soft_targets

    @torch.no_grad()
    def all_entries(self, inputs: dict[str, Tensor]) -> TeacherSignal:
        with without_output_layer(self.model.decoder):
            features = self.model(**inputs)[0].flatten(0, 1)  # (N, d)
        weight = find_projection(self.model).weight
        output = ModelOutput(features=features, weight=weight, positions=self.positions)
        return TeacherSignal((output,), again=self.again)

    def again(self, said: Tensor) -> TeacherSignal:
        return self.all_entries(with_history(self.inputs, said, kd_step.PAD))


def make_steps(vocabulary: int, args: Namespace) -> dict:
    task, student, teacher_model = measuring.make_pair(vocabulary, kd_step.WIDTH, args.device)
    sample = kd_step.make_sample(vocabulary, args.sentences, args.device)
    teacher = Teacher(teacher_model, sample)
    configs = {iterations: TieConfig(kd_iterations=iterations) for iterations in args.iterations}
    optimizer = Adam(student.parameters(), lr=1e-5)

    def make(name, config):
        settings = Namespace(**vars(config), **measuring.CRITERION_SETTINGS)
        return CRITERION_REGISTRY[name](settings, task)

    def step(criterion, asked):
        with measuring.autocast(args):
            loss, _, _ = criterion(student, {**sample, "teacher": asked()})
        measuring.update(optimizer, loss)

    plain = make("soft_target_kd", SoftTargetConfig())
    steps = {"soft_target_kd": lambda: step(plain, teacher.best_entries)}
    for iterations, config in configs.items():
        criterion = make("tie_kd", config)
        steps[f"{iterations}"] = lambda criterion=criterion: step(
            criterion, lambda: teacher.all_entries(sample["net_input"])
        )
    return steps


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_000, 32_000])
    parser.add_argument("--iterations", type=int, nargs="+", default=[1, 3], help="of tie_kd")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=128, help="of 32 tokens a batch")
    measuring.add_device_options(parser)
    args = parser.parse_args()
    clock = measuring.begin(args)
    tokens = args.sentences * kd_step.LENGTH
    print(f"{tokens} target tokens, d={kd_step.WIDTH}, {measuring.precision(args)}, {args.device}")
    for vocabulary in args.vocabulary:
        times = measuring.in_turn(make_steps(vocabulary, args), args.repeats, clock)
        plain = times.pop("soft_target_kd")
        for iterations, seconds in times.items():
            quotient = measuring.spread(seconds / plain, percentiles=True)
            print(f"V={vocabulary:<7}  {iterations} iterations: step {quotient} of {np.median(plain):.2f} s")


if __name__ == "__main__":
    main()
