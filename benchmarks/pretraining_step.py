"""What distillation costs beside the student and the teacher alone: a distilbert_kd step against its parts.

Prints ratios of times measured in turn in one process (median of the rounds, 10th and 90th percentile), and
of memory::

    python benchmarks/pretraining_step.py [--layers 3] [--teacher-layers 6] [--width 384] [--bf16]

real    distilbert_kd comparing every real position / (the student's masked-LM step + the teacher's forward,
        both as transformers' own models do them: logits at every position); the goal is at most 1.08
masked  distilbert_kd comparing the hidden positions / (a bert_mlm step + the teacher's forward, logits at the
        hidden positions alone); the goal is the same
memory  peak of the vocabulary loss, student and teacher projected chunk by chunk / as two matrices of logits;
        the goal is at most 0.25

A step is forward, loss, backward and AdamW, on batches without padding. The student is a DistilBERT made of
layers of the teacher, so that the cosine of the last hidden states is there too.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from itertools import cycle

import measuring
import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from transformers import BertForMaskedLM

import fairseq_plugins  # noqa: F401 - registers the criteria
from cmlm_kd.api.criterion import NOT_MASKED
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.criteria.distilbert import DistilBertConfig, DistilBertKD
from cmlm_kd.criteria.masked_lm_loss import target_at
from cmlm_kd.models.inherit import distilbert_from_bert
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher
from fairseq_plugins.models.masked_lm import BertMaskedLM

BATCHES = 4
KINDS = ("real", "masked")


def make_models(args: Namespace) -> tuple[BertMaskedLM, MaskedLMTeacher]:
    bert = BertForMaskedLM(measuring.bert_config(args.vocabulary, args.teacher_layers, args.width))
    layers = [i * args.teacher_layers // args.layers for i in range(args.layers)]
    student = BertMaskedLM(MaskedLM(distilbert_from_bert(bert, layers))).to(args.device).train()
    teacher = MaskedLM(bert).requires_grad_(False)
    return student, MaskedLMTeacher(teacher, teacher.describe("teacher", "")).to(args.device)


def make_samples(args: Namespace) -> list[dict]:
    samples, shape = [], (args.sentences, args.length)
    for _ in range(BATCHES):
        ids = torch.randint(args.vocabulary, shape, device=args.device)  # (B, S)
        masked = torch.rand(ids.numel(), device=args.device) < 0.15  # (B * S,)
        index = masked.nonzero().squeeze(1)  # (M,)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "masked_index": index}
        target = ids.flatten()[index]  # (M,)
        samples.append(
            {"net_input": inputs, "target": target, "ntokens": ids.numel(), "nsentences": args.sentences}
        )
    return samples


class Steps:
    """The steps to compare, all of one student."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.samples = args, cycle(make_samples(args))
        self.model, self.teacher = make_models(args)
        task = Namespace(
            kd_level="text",
            student_description=self.model.describe(""),
            teacher_description=self.teacher.description,
            target_dictionary=None,
            cfg=Namespace(_name="masked_lm_kd"),
        )
        self.alone = CRITERION_REGISTRY["bert_mlm"](Namespace(**measuring.CRITERION_SETTINGS), task)
        self.distilling = {
            kind: CRITERION_REGISTRY["distilbert_kd"](
                Namespace(**vars(DistilBertConfig(kd_positions=kind)), **measuring.CRITERION_SETTINGS), task
            )
            for kind in KINDS
        }
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

    def next(self) -> dict:
        return dict(next(self.samples))

    def distil(self, kind: str) -> None:
        sample, criterion = self.next(), self.distilling[kind]
        with measuring.autocast(self.args):
            rows = torch.arange(self.args.sentences, device=self.args.device)  # (B,)
            batch = TeacherBatch(rows, sample["net_input"])
            sample["teacher"] = self.teacher.signal(batch, criterion.needs.teacher)
            loss, size, _ = criterion(self.model, sample)
        measuring.update(self.optimizer, loss / size)

    def student(self, kind: str) -> None:
        sample = self.next()
        if kind == "masked":
            with measuring.autocast(self.args):
                loss, size, _ = self.alone(self.model, sample)
            measuring.update(self.optimizer, loss / size)
            return
        inputs = sample["net_input"]
        ids, index = inputs["input_ids"], inputs["masked_index"]
        everywhere = torch.arange(ids.numel(), device=ids.device)
        labels = target_at(everywhere, index, sample["target"], ids.numel()).view_as(ids)  # (B, S)
        plain = self.model.masked_lm.model
        with measuring.autocast(self.args):
            loss = plain(ids, inputs["attention_mask"], labels=labels).loss
        measuring.update(self.optimizer, loss)

    def forward_of_teacher(self, kind: str) -> None:
        inputs = self.next()["net_input"]
        with torch.no_grad(), measuring.autocast(self.args):
            if kind == "masked":
                self.teacher.model(**inputs)
            else:
                self.teacher.model.model(inputs["input_ids"], inputs["attention_mask"])


def vocabulary_loss(args: Namespace, implementation: str) -> Callable[[], None]:
    """Return the loss of the logits alone, of as many positions as a batch has, with its backward."""
    positions, shape = args.sentences * args.length, (args.sentences, args.length)
    leaves = [
        torch.randn(*size, device=args.device).mul_(0.05).requires_grad_()
        for size in ((positions, args.width), (args.vocabulary, args.width), (args.vocabulary,))
    ]
    teacher = [leaf.detach().flip(0).contiguous() for leaf in leaves]
    settings = DistilBertConfig(kd_cosine_weight=0.0, kd_implementation=implementation)
    criterion = DistilBertKD(settings)
    target = torch.randint(args.vocabulary, (positions,), device=args.device)
    target[torch.rand(positions, device=args.device) > 0.15] = NOT_MASKED
    mask = torch.ones(shape, dtype=torch.long, device=args.device)
    everywhere = torch.arange(positions, device=args.device)

    def run() -> None:
        features, weight, bias = leaves
        student = ModelOutput(
            features=features, weight=weight, bias=bias, attention_mask=mask, positions=everywhere
        )
        signal = TeacherSignal((ModelOutput(features=teacher[0], weight=teacher[1], bias=teacher[2]),))
        with measuring.autocast(args):
            output = criterion.training_loss(student, target, signal)
        output.loss.backward()
        for leaf in leaves:
            leaf.grad = None

    return run


def report(steps: Steps, kind: str, rounds: int, clock) -> None:
    actions = {
        "distil": partial(steps.distil, kind),
        "student": partial(steps.student, kind),
        "teacher": partial(steps.forward_of_teacher, kind),
    }
    times = measuring.in_turn(actions, rounds, clock)
    parts = times["student"] + times["teacher"]
    print(
        f"{kind:<7} distilbert_kd / (student step + teacher forward) (at most 1.08): "
        f"{measuring.spread(times['distil'] / parts, percentiles=True)} of {1000 * np.median(parts):.0f} ms",
        flush=True,
    )


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--layers", type=int, default=3, help="of the student")
    parser.add_argument("--teacher-layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--length", type=int, default=64, help="positions a line")
    parser.add_argument("--sentences", type=int, default=32, help="lines a batch")
    parser.add_argument("--vocabulary", type=int, default=30_522)
    parser.add_argument("--rounds", type=int, default=15)
    measuring.add_device_options(parser)
    args = parser.parse_args()
    clock = measuring.begin(args)
    print(
        f"student {args.layers} layers, teacher {args.teacher_layers}, d={args.width}, V={args.vocabulary}, "
        f"{args.sentences} x {args.length} positions, {measuring.precision(args)}, "
        f"{args.device}, {torch.get_num_threads()} threads"
    )
    steps = Steps(args)
    for kind in KINDS:
        report(steps, kind, args.rounds, clock)
    del steps
    fused, dense = (  # last: it changes how memory is kept
        measuring.peak_memory(vocabulary_loss(args, way), args.device) for way in ("fused", "dense")
    )
    print(
        f"memory  vocabulary loss fused / dense (at most 0.25): {fused / max(dense, 1.0):.3f} "
        f"({fused / 2**20:.0f} / {dense / 2**20:.0f} MiB)"
    )


if __name__ == "__main__":
    main()
