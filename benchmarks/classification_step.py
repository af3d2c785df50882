"""What a teacher of classification costs: a pkd step against plain fine-tuning of the same student.

Prints ratios of times measured in turn in one process (median of the rounds, smallest and largest)::

    python benchmarks/classification_step.py [--layers 3] [--teacher-layers 6] [--width 384] [--bf16]
    [--rounds 20]

cached   pkd with the teacher's outputs from a cache / sentence_classification; the goal is at most 1.05
online   pkd with the teacher beside the student / (1.05 plain steps + one teacher forward without gradients);
         the goal is at most 1
asking   the same / (the cached step + one teacher forward): 1 means that asking costs the forward alone

A step is forward, loss, backward and AdamW, on batches of 32 sentences without padding. The cached step
includes reading the batch's rows of logits and [CLS] states.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from itertools import cycle
from pathlib import Path

import measuring
import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from transformers import BertForSequenceClassification

import fairseq_plugins  # noqa: F401 - registers the criteria
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.criteria.pkd import PKDConfig
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import EncodedExamples
from cmlm_kd.models.classifier import SequenceClassifier
from cmlm_kd.teachers.cache import CacheIdentity, open_cache, write_cache
from cmlm_kd.teachers.ensemble import Member, TeacherEnsemble
from fairseq_plugins.models.classifier import BertClassifier

BATCH, BATCHES = 32, 4


def make_classifier(name: str, layers: int, args: Namespace) -> SequenceClassifier:
    tokenizer = measuring.word_tokenizer(args.words)
    config = measuring.bert_config(len(tokenizer), layers, args.width)
    return SequenceClassifier(BertForSequenceClassification(config), tokenizer, name)


def make_examples(args: Namespace) -> Examples:
    numbers = np.random.default_rng(1).integers(0, args.words, (BATCH * BATCHES, args.length - 2))
    texts = [" ".join(f"w{number}" for number in row) for row in numbers]
    return Examples(texts, None, np.arange(len(texts)) % 2, ("LABEL_0", "LABEL_1"), "made up")


class Steps:
    """The steps to compare, all of one student."""

    def __init__(self, args: Namespace, folder: Path) -> None:
        self.args = args
        student = make_classifier("student", args.layers, args).to(args.device)
        teacher = make_classifier("teacher", args.teacher_layers, args).to(args.device)
        self.model, self.teachers = (
            BertClassifier(student).train(),
            TeacherEnsemble([Member(teacher, [0, 1])], "probabilities", teacher.labels),
        )
        task = Namespace(
            kd_level="sentences",
            student_description=student.description,
            teacher_description=self.teachers.description,
            target_dictionary=None,
            cfg=Namespace(_name="classification_kd"),
        )
        settings = measuring.CRITERION_SETTINGS
        self.plain = CRITERION_REGISTRY["sentence_classification"](Namespace(**settings), task)
        self.pkd = CRITERION_REGISTRY["pkd"](Namespace(**vars(PKDConfig()), **settings), task)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        self._make_data(args, folder)

    def _make_data(self, args: Namespace, folder: Path) -> None:
        examples, inputs = make_examples(args), self.model.inputs
        encoded, samples = EncodedExamples(examples, inputs), []
        for start in range(0, len(examples), BATCH):
            rows = list(range(start, start + BATCH))
            batch = {name: tensor.to(args.device) for name, tensor in encoded.collate(rows).items()}
            target = torch.from_numpy(examples.target[rows]).to(args.device)  # (B,)
            samples.append({"id": rows, "net_input": batch, "target": target, "ntokens": 0})
        precision = "bfloat16" if args.bf16 else "float32"
        identity = CacheIdentity.of(self.teachers, examples, self.pkd.needs, precision)
        write_cache(folder / "cache", self.teachers, examples, self.pkd.needs, identity, args.device)
        self.cache = open_cache(folder / "cache", identity, "probabilities")
        self.samples = cycle(samples)

    def _next(self) -> dict:
        return dict(next(self.samples))

    def _step(self, criterion: torch.nn.Module, sample: dict) -> None:
        with measuring.autocast(self.args):
            loss, _, _ = criterion(self.model, sample)
        measuring.update(self.optimizer, loss)

    def fine_tuning(self) -> None:
        self._step(self.plain, self._next())

    def cached(self) -> None:
        sample = self._next()
        device = sample["target"].device
        sample["teacher"] = self.cache.signal(TeacherBatch(torch.tensor(sample["id"], device=device)))
        self._step(self.pkd, sample)

    def online(self) -> None:
        sample = self._next()
        with measuring.autocast(self.args):
            sample["teacher"] = self.teachers.signal(
                TeacherBatch(torch.tensor(sample["id"]), sample["net_input"]), self.pkd.needs.teacher
            )
        self._step(self.pkd, sample)

    def teacher(self) -> None:
        model, sample = self.teachers.members[0].model.eval(), self._next()
        with torch.no_grad(), measuring.autocast(self.args):
            model(**sample["net_input"])


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--layers", type=int, default=3, help="of the student")
    parser.add_argument("--teacher-layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--length", type=int, default=32, help="pieces a sentence")
    parser.add_argument("--words", type=int, default=30_000, help="vocabulary")
    parser.add_argument("--rounds", type=int, default=20)
    measuring.add_device_options(parser)
    args = parser.parse_args()
    clock = measuring.begin(args)
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(args, Path(folder))
        actions = {name: getattr(steps, name) for name in ("fine_tuning", "cached", "online", "teacher")}
        times = measuring.in_turn(actions, args.rounds, clock, warm_up=2)
    print(
        f"student {args.layers} layers, teacher {args.teacher_layers}, d={args.width}, {BATCH} x "
        f"{args.length} pieces, {measuring.precision(args)}, {args.device}, {torch.get_num_threads()} threads"
    )
    print(f"fine-tuning step {1000 * np.median(times['fine_tuning']):.1f} ms")
    cached = times["cached"] / times["fine_tuning"]
    online = times["online"] / (1.05 * times["fine_tuning"] + times["teacher"])
    asking = times["online"] / (times["cached"] + times["teacher"])
    print(f"cached / fine-tuning (at most 1.05): {measuring.spread(cached, 3)}")
    print(f"online / (1.05 fine-tuning + teacher forward) (at most 1): {measuring.spread(online, 3)}")
    print(f"online / (cached + teacher forward): {measuring.spread(asking, 3)}")


if __name__ == "__main__":
    main()
