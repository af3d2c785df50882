"""``cmlm-kd dump`` of a fairseq Transformer against its bare teacher-forced forward over the same batches.

    python benchmarks/translator_dump.py [--threads N] [--bf16-autocast] [--rounds 3]

A Transformer with random weights reads pairs as long as Multi30k's. The bare forward gets the dump's batches
ready made, as a trainer would collate them, and projects every position, padding included; the dump collates,
projects real positions only, keeps the k best and the log-mass of the rest, and writes the store. Measured in
one run, round by round, each part in turn; medians of the rounds' ratios, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from dump import DEVIATION, compare, synthetic_pairs
from fairseq import options, tasks
from fairseq.data.data_utils import collate_tokens
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from cmlm_kd.api.next_tokens import TeacherOptions
from cmlm_kd.store import StoreHeader, StoreWriter
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.teachers.shards import DumpOptions
from cmlm_kd.teachers.teacher_forcing import TeacherForcingDumper, batches_by_length
from fairseq_plugins.translators.teacher_forcing import FairseqTeacher

VOCABULARY = 8000


def random_teacher(
    folder: Path, layers: int, width: int, bf16_autocast: bool, vocabulary: int = VOCABULARY
) -> FairseqTeacher:
    """Return a Transformer as fairseq-train would begin with it."""
    for language in ("source", "target"):
        lines = "".join(f"▁w{number} 1\n" for number in range(vocabulary - 4))
        (folder / f"dict.{language}.txt").write_text(lines)
    sizes = [f"--{side}-{name}" for side in ("encoder", "decoder") for name in ("layers", "embed-dim")]
    flags = [str(folder), "--task", "translation", "-s", "source", "-t", "target", "--arch", "transformer"]
    for flag, value in zip(sizes, (layers, width) * 2, strict=True):
        flags += [flag, str(value)]
    for side in ("encoder", "decoder"):
        flags += [f"--{side}-ffn-embed-dim", str(4 * width), f"--{side}-attention-heads", "8"]
    arguments = options.parse_args_and_arch(
        options.get_training_parser(), [*flags, "--share-decoder-input-output-embed"]
    )
    whole = convert_namespace_to_omegaconf(arguments)
    task = tasks.setup_task(whole.task)
    model = task.build_model(whole.model)
    return FairseqTeacher(Path("random"), model, task, "0" * 64, TeacherOptions(bf16_autocast=bf16_autocast))


class Sides:
    """The dump of a corpus, and the bare forward over the same batches."""

    def __init__(self, dumper: TeacherForcingDumper, source: Any, target: Any) -> None:
        self.dumper, self.source, self.target = dumper, source, target
        self.teacher: Any = dumper.teacher
        self.header = StoreHeader(
            rows=len(target),
            k=dumper.options.topk,
            tail_temperatures=dumper.options.tail_temperatures,
            vocabulary_size=VOCABULARY,
            **{f"{name}_hash": "0" * 64 for name in ("dictionary", "corpus", "teacher")},
        )

    def dump(self, folder: Path) -> None:
        with StoreWriter.create_or_resume(folder, self.header) as writer:
            for plan in writer.pending_shards():
                writer.write_shard(plan, self.dumper.shard(self.source, self.target, plan))
            writer.finish()

    def batches(self) -> list[dict[str, torch.Tensor]]:
        found = []
        for rows in batches_by_length(self.source.sizes, self.target.sizes, self.dumper.options.max_tokens):
            rows = rows[np.argsort(-self.source.sizes[rows], kind="stable")]
            sources = [torch.from_numpy(self.source[row].astype(np.int64)) for row in rows]
            targets = [torch.from_numpy(self.target[row].astype(np.int64)) for row in rows]
            found.append(
                {
                    "src_tokens": collate_tokens(sources, 1, left_pad=True),
                    "src_lengths": torch.tensor([len(row) for row in sources]),
                    "prev_output_tokens": collate_tokens(targets, 1, 2, move_eos_to_beginning=True),
                }
            )
        return found

    @torch.inference_mode()
    def forward_only(self, batches: list[dict[str, torch.Tensor]]) -> None:
        for batch in batches:
            with bfloat16_autocast(self.teacher.bf16_autocast, "cpu"):
                self.teacher.model(**batch)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    source, target = synthetic_pairs(folder, arguments.pairs, arguments.deviation)
    teacher = random_teacher(folder, arguments.layers, arguments.width, arguments.bf16_autocast)
    dump_options = DumpOptions(max_tokens=arguments.max_tokens, bf16_autocast=arguments.bf16_autocast)
    sides = Sides(TeacherForcingDumper(teacher, dump_options), source, target)
    print(
        f"torch {torch.__version__}, {arguments.threads} threads, {torch.backends.cpu.get_cpu_capability()}; "
        f"Transformer, {arguments.layers} + {arguments.layers} layers, d = {arguments.width}, "
        f"V = {VOCABULARY:,}; {len(target)} pairs"
    )
    batches = sides.batches()
    places = (folder / f"store{number}" for number in itertools.count())
    times = measuring.in_turn(
        {"dump": lambda: sides.dump(next(places)), "bare": lambda: sides.forward_only(batches)},
        arguments.rounds,
        measuring.wall_and_cpu,
        progress="rounds, the first to warm up",
    )  # (rounds, 2) each
    for name, seconds in times.items():
        median = np.median(seconds[:, 0])
        print(f"  {name}: {len(target.tokens) / median:,.1f} target tokens a second, {median:.2f} s")
    compare(
        "target tokens a second, the dump's to the bare forward's",
        "at least 0.95",
        times["bare"] / times["dump"],
    )


def main() -> None:
    parser = measuring.make_parser(__doc__)
    measuring.add_dump_options(parser, DEVIATION)
    parser.add_argument("--bf16-autocast", action="store_true")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=512)
    measuring.in_a_folder(measure, parser.parse_args())


if __name__ == "__main__":
    main()
