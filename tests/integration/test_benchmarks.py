"""The benchmarks run, on next to nothing, and print what they are there for; figures are not looked at."""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading

import pytest
import torch
from documentation import REPOSITORY, commands
from fairseq import options

from cmlm_kd.store import verify_store

STEP = ("--vocabulary", 60, "--sentences", 2, "--repeats", 1, "--cpu-time")
DUMP = ("--layers", 1, "--hidden-size", 32, "--pairs", 8, "--original-pairs", 8, "--rounds", 1)
MLM = ("--layers", 1, "--hidden-size", 32, "--mlm-sentences", 4, "--released-sentences", 1)
AUGMENTATION = ("--sentences", 20, "--rounds", 1, *MLM)
CLASSIFICATION = ("--layers", 2, "--teacher-layers", 2, "--width", 32, "--words", 20, "--rounds", 1)
EARLY_EXIT = ("--layers", 3, "--width", 64, "--words", 50, "--examples", 12, "--length", 6, "--rounds", 1)
PRETRAINING = (*("--layers", 2, "--teacher-layers", 2, "--width", 32, "--vocabulary", 50), "--rounds", 1)
SLOPES = (*("--pairs", 4, 8, "--vocabulary", 60, 80, "--lengths", 3, 5), "--width", 32, "--rounds", 1)
STORE = ("--vocabularies", 200, "--rounds", 1)
TRANSLATE = ("--updates", 1, "--sentences", 6, "--rounds", 1, "--batch-sizes", 4, "--beam", 1)
INFERENCE = ("--students", "TinyBERT4", "--batch-sizes", 1, "--length", 4, "--rounds", 1, "--warm-up", 0)
FIGURES = {
    "kd_step.py": [rf"\b{figure} \d+\.\d\d" for figure in ("step", "gather", "scatter", "memory")],
    "hidden_state_step.py": [
        r"teacher forward \(at most 1\): \d",
        r"one forward \(at most 1\): \d",
        r"cached states / soft_target_kd step \(at most 1\.05\): \d",
        r"without projections / soft_target_kd step \(at most 1\.05\): \d",
    ],
    "tie_step.py": [r"V=40 +1 iterations: step \d+\.\d\d", r"V=40 +3 iterations: step \d+\.\d\d"],
    "dump.py": [r"at least 6\): \d", r"at most 0\.75\): \d", r"at least 0\.9\): \d"],
    "translator_dump.py": [r"at least 0\.95\): \d"],
    "augmentation.py": [
        *(rf"{rule} +[\d,]+ a second" for rule in ("rules +sentences", "pairs", "tagging +sentences")),
        *(rf"{type_} to released \(at least 4\): \d" for type_ in ("float32", "bfloat16")),
    ],
    "classification_step.py": [r"at most 1\.05\): \d\.\d", r"teacher forward\) \(at most 1\): \d\.\d"],
    "early_exit.py": [
        *(rf"{traffic}: plain encoder \d+ ms" for traffic in ("one at a time", "as they come", "by length")),
        r"at most 1\.05\): \d\.\d\d",
        r"at most 1\.25\): \d\.\d\d",
        r"times fewer \(\d+\.\d\d by length\), time .* times shorter; quotient \(at least 0\.9\): \d\.\d\d",
    ],
    "inference.py": [
        r"BERT-base +109\.\d M parameters, paper 109 M",
        r"TinyBERT4 .* as fast \d+\.\d.* paper 9\.4",
    ],
    "corpus_memory.py": [r"MiB at the peak, 1 shards", r"\(at most 1\.05\): 1\.000"],
    "pretraining_step.py": [
        *(rf"{kind} +distilbert_kd .* \(at most 1\.08\): \d" for kind in ("real", "masked")),
        r"\(at most 0\.25\): \d\.\d",
    ],
    "translate.py": [
        *(rf"ctranslate2, {kind}: \d+ .* sentences/s, \d" for kind in ("float32", "int8")),
        *(rf"\(at least {least}\): \d" for least in (8, 12)),
        r"apart \(at most 0\.1\): \d",
    ],
    "versus.py": [r"cmlm-kd --help, s of CPU +here +\d+\.\d+ +there +\d+\.\d+ +ratio \d"],
    "significance.py": [
        r"most varies by seeds +t +\d",
        r"power +\d+\.\d %",
        r"of nothing on average \(level 5 %\)",
    ],
    "loss.py": [
        *(rf"{kind}, V=600: loss / torch's chunked: \d" for kind in ("float32", "bfloat16")),
        r"three products \(at most 1\.1\): \d",
        r"memory / torch's chunked: \d",
    ],
    "training.py": [
        rf"whole training, {what}, distilled / stock \(at most 0\.\d+\): 0\.50"
        for what in ("time", "CPU time", "peak memory")
    ],
    "growth.py": [
        *(
            rf"{stage}: {what}, the largest / the smallest corpus \(at most 1\.05\): \d"
            for stage in ("prepare", "plan", "store", "open", "start", "merge")
            for what in ("memory", "memory of its own")
        ),
        r"prepare: speed / the tokenizer's own in batches \(at least 0\.7\): \d",
    ],
    "slopes.py": [
        r"8 pairs, V=80, 5 words, ms a pair: prepare \d.* dump \d.* step \d.* translate \d",
        *(
            rf"{command} +time ~ pairs\^-?\d.* vocabulary\^-?\d.* length\^-?\d"
            for command in ("prepare", "dump", "step", "translate")
        ),
    ],
    "workers.py": [r"2 workers, times as fast as one, same bytes \(at least 1\.9\): 2\.00"],
    "peers.py": [r"loss of 32 sentences: cmlm-kd (\d+\.\d\d)\d*, trainer \1", r"cmlm-kd +\d+ s"],
    "start_up.py": [r"import cmlm_kd\.api, .* \(at most 0\.15\): \d", r"--help, .* \(at most 0\.1\): \d"],
    "table.py": [r"commit \w+", r"\| `start_up.py` \| cmlm-kd --help, .* \| at most 0\.1 \| \d.* \|"],
    "serve.py": [
        rf"{clients} clients: p50 \d+\.\d ms, p95 \d.* lost \(at most 0\): 0, other answers \(at most 0\): 0"
        for clients in (1, 3)
    ],
    "store.py": [r"\d\d\.\d bytes a token", r"% of the step", r"x the store's time, .* x its space"],
}


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("kd_step.py", STEP),
        ("kd_step.py", (*STEP, "--bf16", "--profile")),
        ("hidden_state_step.py", ("--vocabulary", 40, "--sentences", 2, "--repeats", 1)),
        ("tie_step.py", ("--vocabulary", 40, "--sentences", 2, "--repeats", 1)),
        ("dump.py", DUMP),
        ("translator_dump.py", ("--layers", 1, "--width", 16, "--pairs", 8, "--rounds", 1)),
        ("slopes.py", (*SLOPES, "--prepare-factor", 2)),
        pytest.param("store.py", STORE, marks=pytest.mark.long),
        pytest.param(
            *("serve.py", ("--clients", 1, 3, "--requests", 6, "--layers", 1, "--width", 32)),
            marks=pytest.mark.long,
        ),
        ("classification_step.py", CLASSIFICATION),
        ("pretraining_step.py", PRETRAINING),
        ("significance.py", ("--runs", 2, "--clusters", 20, "--trials", 5, "--resamples", 20)),
        ("corpus_memory.py", ("--megabytes", 0.01, "--epochs", 2)),
        ("augmentation.py", AUGMENTATION),
        pytest.param("translate.py", TRANSLATE, marks=pytest.mark.long),
        ("inference.py", INFERENCE),
        ("early_exit.py", EARLY_EXIT),
        pytest.param(
            "peers.py",
            (*("--updates", 1, "--rounds", 1, "--layers", 2, "--teacher-layers", 4), "--width", 32),
            marks=pytest.mark.long,
        ),
        ("versus.py", (REPOSITORY, "--rounds", 1, "--only", "help")),
        ("loss.py", ("--rounds", 1, "--tokens", 64, "--vocabulary", 600, "--width", 32)),
        ("table.py", ("--quick", "--only", "start_up.py")),
    ],
)
def test_a_benchmark_prints_its_figures(script, flags):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / script, *map(str, flags)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for figure in FIGURES[script]:
        assert re.search(figure, done.stdout), done.stdout


def test_students_have_the_parameters_that_their_papers_report(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    benchmark = importlib.import_module("inference")
    assert {"DistilBERT", "TinyBERT4", "TinyBERT6", "MobileBERT"} < set(benchmark.SHAPES)
    for shape in benchmark.SHAPES.values():
        with torch.device("meta"):
            encoder = shape.make()
        assert benchmark.millions(encoder) == pytest.approx(shape.millions, rel=0.03)


@pytest.mark.long
def test_versus_finds_the_figures_that_the_others_print(monkeypatch):
    """Its own settings run long: their flags are looked up, its figures found in this file's short runs."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    versus = importlib.import_module("versus")
    short = {"kd_step": STEP, "dump": (*DUMP, "--float32"), "early_exit": EARLY_EXIT}
    for name, flags in short.items():
        words, figures = versus.RUNS[name]
        told = subprocess.run(
            [sys.executable, REPOSITORY / words[0], "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert [word for word in words if word.startswith("--") and word not in told.stdout] == []
        tiny = versus.Run([words[0], *map(str, flags)], {"cpu": "", **figures})
        if name == "early_exit":  # which exits there are depends on random weights
            tiny = versus.Run(tiny.words, dict(list(tiny.figures.items())[:2]))
        assert all(found > 0 for found in versus.run(REPOSITORY, tiny))
    with pytest.raises(SystemExit, match="no figure like"):
        versus.figure(r"none (\d)", "one 1")


def test_no_benchmark_is_forgotten():
    scripts = {path.name for path in (REPOSITORY / "benchmarks").glob("*.py")} - {"measuring.py"}
    assert scripts == set(FIGURES)
    printed = {words[1].removeprefix("benchmarks/") for words in commands("docs/benchmarks.md")}
    assert printed >= set(FIGURES)


# Those whose parts are processes, in this one


@pytest.fixture
def benchmark_named(monkeypatch):
    """Return a function that imports a benchmark."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    return importlib.import_module


def printed_by(module, monkeypatch, capsys, *flags):
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, flags)])
    module.main()
    printed = capsys.readouterr().out
    for figure in FIGURES[f"{module.__name__}.py"]:
        assert re.search(figure, printed), printed


def test_two_trainings_are_told_apart_by_what_is_compared(benchmark_named, monkeypatch, capsys):
    training, commands_run = benchmark_named("training"), {}

    def train(args, folder, name, more):
        verify_store(folder / "store")
        commands_run[name] = [*training.flags(args, folder / "data", folder / "save"), *more]
        options.parse_args_and_arch(options.get_training_parser(), commands_run[name])
        half = 1 if name == "distilled" else 2
        return training.Outcome(half, half, half, 3.0, 4.0)

    monkeypatch.setattr(training, "train", train)
    tiny = ("--updates", 2, "--pairs", 40, "--vocabulary", 60, "--width", 16, "--layers", 1)
    printed_by(training, monkeypatch, capsys, *tiny)
    assert set(commands_run["stock"]) & {"label_smoothed_cross_entropy", "adam"}
    assert set(commands_run["distilled"]) > {"soft_target_kd", "fused_adam"}


def test_losses_on_validation_data_are_read_from_the_log(benchmark_named, tmp_path):
    lines = ('2026 | INFO | valid | {"epoch": 1, "valid_nll_loss": "4.5"}', "2026 | INFO | {}", "words")
    (tmp_path / "log").write_text("\n".join(lines))
    assert benchmark_named("training").validation_losses(tmp_path / "log") == [4.5]


def test_every_stage_of_growth_runs(benchmark_named, monkeypatch, capsys, tmp_path):
    growth = benchmark_named("growth")
    monkeypatch.setattr(growth, "in_process", lambda stage, folder: growth.measure(stage, folder))
    flags = ("--pairs", 12, 24, "--vocabulary", 60, "--plot", tmp_path / "plot.png")
    flags += ("--length", 4, "--speed-pairs", 10, "--rounds", 1)
    printed_by(growth, monkeypatch, capsys, *flags, "--json", tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text())["pairs"] == [12, 24]
    assert (tmp_path / "plot.png").stat().st_size > 0
    assert growth.needed(["open"]) == ["prepare", "store", "open"]
    assert growth.slope([10, 100], [1.0, 100.0]) == pytest.approx(2.0)


def test_slopes_are_exponents_of_the_whole_time_and_drawn(benchmark_named, tmp_path):
    slopes = benchmark_named("slopes")
    cells = [slopes.Cell(*cell) for cell in itertools.product((10, 20, 40), (100, 300), (5, 8))]
    spent = [0.1 * vocabulary**0.5 * length**1.5 / pairs**0.25 for pairs, vocabulary, length in cells]
    assert slopes.exponents(cells, spent) == pytest.approx([0.75, 0.5, 1.5])
    slopes.plot(tmp_path / "plot.png", cells, {"prepare": spent, "dump": spent}, 200)
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_workers_write_one_store_together(benchmark_named, monkeypatch, capsys):
    workers = benchmark_named("workers")

    def dump(folder, name, count, args):
        for index in range(1, count + 1):
            share = workers.Share(index, count)
            workers.work(folder, folder / f"{name}-{index}", share, args, threading.Barrier(1))
        parts = [folder / f"{name}-{index}" for index in range(1, count + 1)]
        workers.merge_parts(parts, folder / name)
        return 1.0 / count, folder / name

    monkeypatch.setattr(workers, "dump", dump)
    tiny = ("--pairs", 12, "--layers", 1, "--hidden-size", 32, "--rounds", 1, "--shards", 2)
    printed_by(workers, monkeypatch, capsys, *tiny)


def test_the_table_knows_bounds_that_are_met_and_missed(benchmark_named):
    table = benchmark_named("table")
    printed = """
    dump / bare (at most 1.15): 0.87 [0.80 to 0.89], by CPU time 0.9
    faster (at least 4): 3.32
    V=32000    step 0.65 (0.64-0.68) of 2.10 s  gather 0.58 (0.55-0.63) of 0.1 s
    10,000 lines of nothing
    """
    rows = table.rows_of("dump.py", "", printed.replace("\n    ", "\n"))
    assert [(row.what, row.figure, row.met) for row in rows] == [
        ("dump / bare", 0.87, True),
        ("faster", 3.32, False),
        ("step with soft targets / fairseq's plain step, V=32000", 0.65, False),
    ]
    assert (rows[0].low, rows[0].high) == (0.80, 0.89)
    text = table.markdown(rows, {"store.py --x": "why"}, {"commit": "c0ffee"})
    assert "| faster | at least 4 | 3.32 | **no** |" in text and "`store.py --x` | did not run" in text
    assert {run.script for run in table.RUNS} <= set(FIGURES)
