"""What a teacher's inside costs: hidden_state_kd against soft_target_kd and one forward of the teacher.

Prints ratios of times measured in turn in one process (median, and the 10th to 90th percentile)::

    python benchmarks/hidden_state_step.py [--bf16] [--device cuda] [--vocabulary 32000] [--repeats 5]

A step is forward, loss, backward and Adam of a 3+3-layer transformer, whose teacher has 6+6 layers, d = 256
in both. Each vocabulary gives four lines:

beside    the step of hidden_state_kd with all terms and the teacher's forward, over the step of
          soft_target_kd and the same forward with nothing kept
once      the same over the step of hidden_state_kd that has the teacher's states already and one bare
          forward of the teacher: above 1 it would ask the teacher for more than that
cached    the step of hidden_state_kd with the teacher's states from a cache on disk, read in the step, over
          the step of soft_target_kd with soft targets that are there already, and no teacher
plain     the same with --kd-projection none, as the widths are equal
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import kd_step
import measuring
import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.optim.adam import Adam
from fairseq.utils import apply_to_sample
from kd_step import ratio

from cmlm_kd.api.needs import Request
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.criteria.hidden_state import HiddenStateConfig
from cmlm_kd.criteria.soft_target import SoftTargetConfig
from cmlm_kd.teachers.state_cache import StateCache, open_states
from cmlm_kd.teachers.state_files import SIDES, StatesIdentity
from cmlm_kd.teachers.state_writer import TrainingPairs, write_states
from fairseq_plugins.models.inner_states import inner_states


class Teacher:
    """A translator that says what it is asked for; its soft targets are made up, their cost is the same."""

    name = "teacher"

    def __init__(self, model: torch.nn.Module, sample: dict) -> None:
        self.model, self.sample, self.teacher = model, sample, self
        self.soft_targets = TeacherSignal.from_batch(sample["teacher"]).soft_targets

    @torch.no_grad()
    def signal(self, batch: TeacherBatch, request: Request) -> TeacherSignal:
        inputs = batch.inputs
        with inner_states(self.model, request) as kept:
            self.model(**inputs)
        output = kept.put_into(kd_step.ModelOutput(), inputs["src_tokens"].ne(kd_step.PAD))
        said = {
            name: getattr(self.soft_targets, name)[batch.rows] for name in ("ids", "logits", "tail", "valid")
        }
        return TeacherSignal((output,), soft_targets=SoftTargets(**said))


def make_steps(vocabulary: int, args: Namespace, folder: Path) -> dict:
    task, student, teacher_model = measuring.make_pair(vocabulary, kd_step.WIDTH, args.device)
    sample = kd_step.make_sample(vocabulary, args.sentences, args.device)
    teacher = Teacher(teacher_model, sample)
    attention = 0.0 if args.states_alone else 1.0
    hidden = HiddenStateConfig(kd_attention_weight=attention, kd_cross_attention_weight=attention)
    configs = {
        "hidden_state_kd": hidden,
        "plain": replace(hidden, kd_projection="none"),
        "soft_target_kd": SoftTargetConfig(),
    }
    criterions = {
        name: CRITERION_REGISTRY[config.criterion](
            Namespace(**vars(config), **measuring.CRITERION_SETTINGS), task
        )
        for name, config in configs.items()
    }
    trained = [*student.parameters(), *criterions["hidden_state_kd"].to(args.device).parameters()]
    optimizer = Adam(trained, lr=1e-5)
    batch = TeacherBatch(torch.arange(args.sentences), sample["net_input"], sample["target"], kd_step.PAD)
    reads = {name: criterion.needs.teacher or Request() for name, criterion in criterions.items()}
    cache = make_cache(folder, teacher, batch, reads["hidden_state_kd"])

    def step(criterion, signal):
        with measuring.autocast(args):
            loss, _, _ = criterion(student, {**sample, "teacher": signal()})
        measuring.update(optimizer, loss)

    def beside(name):
        return lambda: step(criterions[name], lambda: teacher.signal(batch, reads[name]))

    def cached():
        signal = cache.signal(batch, reads["hidden_state_kd"])  # as a worker of the data loader gives it
        moved = apply_to_sample(lambda tensor: tensor.to(args.device), {"teacher": signal.to_batch()})
        return moved["teacher"]

    @torch.no_grad()
    def forward():
        with measuring.autocast(args):
            teacher_model(**sample["net_input"])

    return {
        "forward": forward,
        "hidden_state_kd": beside("hidden_state_kd"),
        "soft_target_kd": beside("soft_target_kd"),
        "cached": lambda: step(criterions["hidden_state_kd"], cached),
        "plain": lambda: step(criterions["plain"], cached),
        "alone": lambda: step(criterions["soft_target_kd"], lambda: sample["teacher"]),
    }


def make_cache(folder: Path, teacher: Teacher, batch: TeacherBatch, request: Request) -> StateCache:
    """Write what the teacher gives for the batch, as a training would, and open it."""
    padded = dict(zip(SIDES, (batch.inputs["src_tokens"], batch.target), strict=True))
    lengths = {side: tokens.ne(kd_step.PAD).sum(1).int().cpu().numpy() for side, tokens in padded.items()}
    rows = len(batch.rows)
    pairs = TrainingPairs("", lengths, np.ones(rows, bool), lambda chosen: rows_of(batch, chosen))
    identity = StatesIdentity.of("", rows, "", "float32", request, kd_step.TOP_K)
    write_states(folder / "cache", teacher, pairs, request, identity)
    return open_states(folder / "cache", identity)


def rows_of(batch: TeacherBatch, rows: list[int]) -> TeacherBatch:
    """Return some pairs of a batch, which has no padding."""
    inputs = {name: tensor[rows] for name, tensor in batch.inputs.items()}
    return TeacherBatch(batch.rows[rows], inputs, batch.target[rows], batch.padding_idx)


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
        with tempfile.TemporaryDirectory() as folder:
            times = measuring.in_turn(make_steps(vocabulary, args, Path(folder)), args.repeats, clock)
        beside = ratio(times, "hidden_state_kd", "soft_target_kd")
        print(f"V={vocabulary}, hidden_state_kd / soft_target_kd and teacher forward (at most 1): {beside}")
        times["step and forward"] = times["cached"] + times["forward"]
        once = ratio(times, "hidden_state_kd", "step and forward")
        print(f"V={vocabulary}, hidden_state_kd / cached states and one forward (at most 1): {once}")
        cached = ratio(times, "cached", "alone")
        print(f"V={vocabulary}, cached states / soft_target_kd step (at most 1.05): {cached}")
        plain = ratio(times, "plain", "alone")
        print(
            f"V={vocabulary}, without projections / soft_target_kd step (at most 1.05): {plain}", flush=True
        )


if __name__ == "__main__":
    main()
