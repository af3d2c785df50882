"""What a teacher of classification costs: a pkd step against plain fine-tuning of the same student.

Prints ratios of times measured in turn in one process (median of the rounds, smallest and largest)::

    python benchmarks/classification_step.py [--layers 3] [--teacher-layers 6] [--width 384] [--bf16]
    [--rounds 20]

cached   pkd with the teacher's outputs from a cache / sentence_classification; the goal is at most 1.05
online   pkd with the teacher beside the student / (the cached step + one teacher forward without gradients);
         at most 1.0 means that asking the teacher costs its forward and nothing else

A step is forward, loss, backward and AdamW, on batches of 32 sentences without padding. The cached step
includes reading the batch's rows of logits and [CLS] states.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from fairseq.criterions import CRITERION_REGISTRY
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import fairseq_plugins  # noqa: F401 - registers the criteria
from cmlm_kd.classification.examples import Examples
from cmlm_kd.classification.inputs import EncodedExamples
from cmlm_kd.criteria.pkd import PKDConfig
from cmlm_kd.teachers.cache import CacheIdentity, open_cache, write_cache
from cmlm_kd.teachers.classifier import SequenceClassifier
from cmlm_kd.teachers.ensemble import Member, TeacherEnsemble
from fairseq_plugins.models.bert_classifier import BertClassifier

BATCH, BATCHES = 32, 4
SETTINGS = {"sentence_avg": False, "ddp_backend": "legacy_ddp", "find_unused_parameters": False}


def make_tokenizer(words: int) -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*names, *(f"w{i}" for i in range(words))])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def make_classifier(name: str, layers: int, args: argparse.Namespace) -> SequenceClassifier:
    tokenizer = make_tokenizer(args.words)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        num_hidden_layers=layers,
        num_attention_heads=args.width // 32,
        intermediate_size=4 * args.width,
    )
    return SequenceClassifier(BertForSequenceClassification(config), tokenizer, name)


def make_examples(args: argparse.Namespace) -> Examples:
    numbers = np.random.default_rng(1).integers(0, args.words, (BATCH * BATCHES, args.length - 2))
    texts = [" ".join(f"w{number}" for number in row) for row in numbers]
    return Examples(texts, None, np.arange(len(texts)) % 2, ("LABEL_0", "LABEL_1"), "made up")


class Steps:
    """The steps to compare, all of one student."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.autocast = lambda: (
            torch.autocast(args.device, torch.bfloat16) if args.bf16 else contextlib.nullcontext()
        )
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
        self.plain = CRITERION_REGISTRY["sentence_classification"](Namespace(**SETTINGS), task)
        self.pkd = CRITERION_REGISTRY["pkd"](Namespace(**vars(PKDConfig()), **SETTINGS), task)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        self._make_data(args, folder)

    def _make_data(self, args: argparse.Namespace, folder: Path) -> None:
        examples, inputs = make_examples(args), self.model.inputs
        encoded, self.samples = EncodedExamples(examples, inputs), []
        for start in range(0, len(examples), BATCH):
            rows = list(range(start, start + BATCH))
            batch = {name: tensor.to(args.device) for name, tensor in encoded.collate(rows).items()}
            target = torch.from_numpy(examples.target[rows]).to(args.device)  # (B,)
            self.samples.append({"id": rows, "net_input": batch, "target": target, "ntokens": 0})
        precision = "bfloat16" if args.bf16 else "float32"
        identity = CacheIdentity.of(self.teachers, examples, self.pkd.needs, precision)
        write_cache(folder / "cache", self.teachers, examples, self.pkd.needs, identity, args.device)
        self.cache = open_cache(folder / "cache", identity, "probabilities")
        self.turn = 0

    def _next(self) -> dict:
        self.turn += 1
        return dict(self.samples[self.turn % BATCHES])

    def _step(self, criterion: torch.nn.Module, sample: dict) -> None:
        with self.autocast():
            loss, _, _ = criterion(self.model, sample)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def fine_tuning(self) -> None:
        self._step(self.plain, self._next())

    def cached(self) -> None:
        sample = self._next()
        device = sample["target"].device
        sample["teacher"] = self.cache.signal(sample["id"], device).to_batch()
        self._step(self.pkd, sample)

    def online(self) -> None:
        sample = self._next()
        with self.autocast():
            signal = self.teachers.signal([sample["net_input"]], self.pkd.needs, check=sample["id"])
        sample["teacher"] = signal.to_batch()
        self._step(self.pkd, sample)

    def teacher(self) -> None:
        model, sample = self.teachers.members[0].model.eval(), self._next()
        with torch.no_grad(), self.autocast():
            model(**sample["net_input"])


def measure(steps: Steps, rounds: int, device: str, cpu_time: bool) -> dict[str, list[float]]:
    """Return the seconds of each step, round by round, in alternating order, after two rounds of warming
    up."""
    names = ["fine_tuning", "cached", "online", "teacher"]
    times: dict[str, list[float]] = {name: [] for name in names}
    clock = time.process_time if cpu_time else time.perf_counter

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return clock()

    for round_ in range(-2, rounds):
        for name in names if round_ % 2 else reversed(names):
            start = now()
            getattr(steps, name)()
            if round_ >= 0:
                times[name].append(now() - start)
    return times


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=3, help="of the student")
    parser.add_argument("--teacher-layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--length", type=int, default=32, help="pieces a sentence")
    parser.add_argument("--words", type=int, default=30_000, help="vocabulary")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (autocast)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of one thread, for a machine with other work"
    )
    args = parser.parse_args()
    torch.manual_seed(1)
    if args.cpu_time:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Steps(args, Path(folder)), args.rounds, args.device, args.cpu_time)
    columns = [times[name] for name in ("fine_tuning", "cached", "online", "teacher")]
    cached = [b / a for a, b, _, _ in zip(*columns, strict=True)]
    online = [c / (b + d) for _, b, c, d in zip(*columns, strict=True)]
    print(
        f"student {args.layers} layers, teacher {args.teacher_layers}, d={args.width}, {BATCH} x "
        f"{args.length} pieces, "
        f"{'bfloat16 autocast' if args.bf16 else 'float32'}, {args.device}, {torch.get_num_threads()} threads"
    )
    print(f"fine-tuning step {1000 * statistics.median(times['fine_tuning']):.1f} ms")
    print(f"cached / fine-tuning (at most 1.05): {spread(cached)}")
    print(f"online / (cached + teacher forward) (at most 1): {spread(online)}")


if __name__ == "__main__":
    main()
