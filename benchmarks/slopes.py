"""How time grows with the number of pairs, the vocabulary and the length of sentences, command by command.

    python benchmarks/slopes.py [--pairs 48 96 192] [--vocabulary 1000 4000 16000] [--lengths 8 24]
                                [--plot slopes.png] [--json FILE]

prepare    text to a data-bin, of --prepare-factor times the pairs, since it would be all start-up otherwise
dump       soft targets of a C-MLM with random weights, seven passes
step       forward, fused loss, backward and optimizer of a student, in batches of 1,024 target tokens
translate  fairseq's beam search, as many target tokens as source tokens at most

Every number of pairs with every vocabulary and every length, CPU time of one thread, medians of rounds in
turn. Models are tiny, so that the whole takes minutes. Printed are milliseconds a pair and, for each command,
the exponents of the power law through all of its points: time ~ pairs^a vocabulary^b length^c.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dump
import growth
import kd_step
import measuring
import numpy as np
import translator_dump

from cmlm_kd.api.translator import Decoding
from cmlm_kd.data.translating.engine import translate_texts
from cmlm_kd.models.translators.spelled_tokens import PieceText
from cmlm_kd.optim import FusedAdam
from cmlm_kd.system.root_logger import root_logger_kept
from cmlm_kd.teachers.cover_masks import Dumper
from cmlm_kd.teachers.shards import DumpOptions
from cmlm_kd.tokenization.pieces import PieceTokenizer
from fairseq_plugins.translators.checkpoint import CheckpointTranslator
from fairseq_plugins.translators.loading import Ensemble

LAYERS, STEP_TOKENS, BEAM = 2, 1024, 4


class Cell(NamedTuple):
    """A corpus."""

    pairs: int
    vocabulary: int
    length: int  # words of a sentence; of prepare and dump the median


def prepare(folder: Path, cell: Cell, args: argparse.Namespace) -> Callable[[], object]:
    growth.write_tokenizer(folder, cell.vocabulary)
    growth.write_text(folder, cell.pairs * args.prepare_factor, cell.vocabulary, cell.length)
    places = (folder / f"data{number}" for number in itertools.count())

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            growth.prepare_into(next(places), folder)

    return run


def dump_store(folder: Path, cell: Cell, args: argparse.Namespace) -> Callable[[], object]:
    lengths = dict.fromkeys(dump.LOG_LENGTHS, float(np.log(cell.length)))
    pairs = dump.synthetic_pairs(folder, cell.pairs, dump.DEVIATION, cell.vocabulary, lengths)
    teacher = dump.random_teacher(LAYERS, args.width, cell.vocabulary)
    dumper = Dumper(teacher, dump.random_format(cell.vocabulary), DumpOptions())
    ours = dump.Ours(dumper, *pairs, teacher)
    places = (folder / f"store{number}" for number in itertools.count())
    return lambda: ours.dump(next(places))


def step(folder: Path, cell: Cell, args: argparse.Namespace) -> Callable[[], object]:
    del folder
    task, model = measuring.make_transformer(cell.vocabulary, args.width, LAYERS)
    criterion = kd_step.make_criterions(task, "batch")["kd"]
    optimizer = FusedAdam(model.parameters(), lr=1e-5)
    starts = range(0, cell.pairs, STEP_TOKENS // cell.length)
    sizes = [min(STEP_TOKENS // cell.length, cell.pairs - start) for start in starts]
    samples = [kd_step.make_sample(cell.vocabulary, size, "cpu", cell.length) for size in sizes]

    def run() -> None:
        for sample in samples:
            measuring.update(optimizer, criterion(model, sample)[0])

    return run


def translate(folder: Path, cell: Cell, args: argparse.Namespace) -> Callable[[], object]:
    with root_logger_kept():  # fairseq's tasks make it print whatever any library has to say
        student = translator_dump.random_teacher(folder, LAYERS, args.width, False, cell.vocabulary)
    growth.write_tokenizer(folder, cell.vocabulary)
    text = PieceText(PieceTokenizer.from_pretrained(str(folder / "tokenizer")))
    ensemble = Ensemble([student.model], student.task, folder, "0" * 64, "transformer")
    translator = CheckpointTranslator(ensemble, text, "cpu", ())
    drawn = np.random.default_rng(1).integers(0, cell.vocabulary - 4, (cell.pairs, cell.length))
    texts = [" ".join(f"w{number}" for number in row) for row in drawn]
    decoding = Decoding(beam=BEAM, max_length=1, max_length_ratio=1.0)
    return lambda: translate_texts(translator, texts, decoding)


ACTIONS = {"prepare": prepare, "dump": dump_store, "step": step, "translate": translate}


def measure(cell: Cell, args: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of CPU time that each command takes for a pair."""
    with tempfile.TemporaryDirectory() as name:
        actions = {}
        for command, make in ACTIONS.items():
            folder = Path(name, command)
            folder.mkdir()
            actions[command] = make(folder, cell, args)
        seconds = measuring.in_turn(actions, args.rounds, time.process_time)
    factors = dict.fromkeys(ACTIONS, 1) | {"prepare": args.prepare_factor}
    return {
        command: float(np.median(spent)) / (cell.pairs * factors[command])
        for command, spent in seconds.items()
    }


def exponents(cells: list[Cell], seconds: list[float]) -> np.ndarray:
    """Return how time grows with each field of a cell, ``(3,)``, by least squares of logarithms."""
    points = np.log(np.array(cells, float))  # (cells, 3)
    total = np.log(np.array(seconds)) + points[:, 0]  # of all pairs, (cells,)
    return np.linalg.lstsq(np.column_stack([points, np.ones(len(cells))]), total, rcond=None)[0][:3]


def plot(path: Path, cells: list[Cell], found: dict[str, list[float]], factor: int) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.set_loglevel("warning")  # fairseq lets every library print whatever it has to say
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, axes = pyplot.subplots(1, len(found), figsize=(12, 3.6))
    lines = sorted({cell[1:] for cell in cells})
    vocabularies, lengths = (sorted({line[place] for line in lines}) for place in (0, 1))
    for axis, (command, seconds) in zip(axes, found.items(), strict=True):
        scale = factor if command == "prepare" else 1
        for vocabulary, length in lines:
            sizes, spent = zip(
                *(
                    (cell.pairs * scale, 1000 * each)
                    for cell, each in zip(cells, seconds, strict=True)
                    if cell[1:] == (vocabulary, length)
                ),
                strict=True,
            )
            style = {"color": f"C{vocabularies.index(vocabulary)}", "ls": "-:"[lengths.index(length) % 2]}
            axis.loglog(sizes, spent, marker="o", label=f"V = {vocabulary:,}, {length} words", **style)
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set(title=command, xlabel="pairs")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("CPU time of a pair, ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=len(lines), fontsize=8)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[48, 96, 192])
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[1000, 4000, 16_000])
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 24])
    parser.add_argument("--prepare-factor", type=int, default=200)
    parser.add_argument("--width", type=int, default=64, help="of all models")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    measuring.begin(argparse.Namespace(cpu_time=True, device="cpu"))
    cells = [Cell(*values) for values in itertools.product(args.pairs, args.vocabulary, args.lengths)]
    found: dict[str, list[float]] = {command: [] for command in ACTIONS}
    for cell in cells:
        for command, seconds in measure(cell, args).items():
            found[command].append(seconds)
        figures = "  ".join(f"{command} {1000 * found[command][-1]:.3f}" for command in ACTIONS)
        print(
            f"{cell.pairs} pairs, V={cell.vocabulary:,}, {cell.length} words, ms a pair: {figures}",
            flush=True,
        )
    for command, seconds in found.items():
        size, vocabulary, length = exponents(cells, seconds)
        print(f"{command:<9} time ~ pairs^{size:.2f} vocabulary^{vocabulary:.2f} length^{length:.2f}")
    if args.plot:
        plot(args.plot, cells, found, args.prepare_factor)
    if args.json:
        args.json.write_text(json.dumps({"cells": cells, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
