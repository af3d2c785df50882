"""What a teacher's inside costs: hidden_state_kd against soft_target_kd and one forward of the teacher.

Prints ratios of times measured in turn in one process (median, and the 10th to 90th percentile)::

    python benchmarks/hidden_state_step.py [--bf16] [--device cuda] [--vocabulary 32000] [--repeats 5]

step      forward, loss, backward and Adam of a 3+3-layer transformer beside a 6+6-layer teacher, d = 256 in
          both: the step of hidden_state_kd with all terms and the teacher's forward, over the step of
          soft_target_kd and the same forward with nothing kept
"""

from __future__ import annotations

from argparse import Namespace

import kd_step
import measuring
import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.optim.adam import Adam

from cmlm_kd.api.needs import Request
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.hidden_state import HiddenStateConfig
from cmlm_kd.criteria.soft_target import SoftTargetConfig
from fairseq_plugins.models.inner_states import describe_translator, inner_states


class Teacher:
    """A translator that says what it is asked for; its soft targets are made up, their cost is the same."""

    def __init__(self, model: torch.nn.Module, sample: dict) -> None:
        self.model, self.sample = model.eval().requires_grad_(False), sample
        self.soft_targets = TeacherSignal.from_batch(sample["teacher"]).soft_targets

    @torch.no_grad()
    def signal(self, request: Request) -> TeacherSignal:
        inputs = self.sample["net_input"]
        with inner_states(self.model, request) as kept:
            self.model(**inputs)
        output = kept.put_into(kd_step.ModelOutput(), inputs["src_tokens"].ne(kd_step.PAD))
        return TeacherSignal((output,), soft_targets=self.soft_targets)


def make_steps(vocabulary: int, args: Namespace) -> dict:
    task, student = measuring.make_transformer(vocabulary, kd_step.WIDTH)
    _, teacher_model = measuring.make_transformer(vocabulary, kd_step.WIDTH, layers=6)
    student = student.to(args.device).train()
    sample = kd_step.make_sample(vocabulary, args.sentences, args.device)
    teacher = Teacher(teacher_model.to(args.device), sample)
    dictionaries = task.source_dictionary, task.target_dictionary
    task.student_description = describe_translator(student, "student", *dictionaries)
    task.teacher_description = describe_translator(teacher.model, "teacher", *dictionaries)
    attention = 0.0 if args.states_alone else 1.0
    hidden = HiddenStateConfig(kd_attention_weight=attention, kd_cross_attention_weight=attention)
    configs = {"hidden_state_kd": hidden, "soft_target_kd": SoftTargetConfig()}
    criterions = {
        name: CRITERION_REGISTRY[name](Namespace(**vars(config), **measuring.CRITERION_SETTINGS), task)
        for name, config in configs.items()
    }
    trained = [*student.parameters(), *criterions["hidden_state_kd"].to(args.device).parameters()]
    optimizer = Adam(trained, lr=1e-5)

    def step(criterion):
        with measuring.autocast(args):
            wanted = criterion.needs.teacher or Request()
            loss, _, _ = criterion(student, {**sample, "teacher": teacher.signal(wanted)})
        measuring.update(optimizer, loss)

    return {name: lambda criterion=criterion: step(criterion) for name, criterion in criterions.items()}


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_000, 32_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=128, help="of 32 tokens a batch")
    parser.add_argument("--states-alone", action="store_true", help="compare no attention")
    measuring.add_device_options(parser)
    args = parser.parse_args()
    clock = measuring.begin(args)
    tokens = args.sentences * kd_step.LENGTH
    print(f"{tokens} target tokens, d={kd_step.WIDTH}, {measuring.precision(args)}, {args.device}")
    for vocabulary in args.vocabulary:
        times = measuring.in_turn(make_steps(vocabulary, args), args.repeats, clock)
        quotient = measuring.spread(times["hidden_state_kd"] / times["soft_target_kd"], percentiles=True)
        print(f"V={vocabulary:<7}  step {quotient} of {np.median(times['soft_target_kd']):.2f} s", flush=True)


if __name__ == "__main__":
    main()
