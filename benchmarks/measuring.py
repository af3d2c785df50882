"""What the benchmarks share: rounds in turn, clocks and peak memory, options, figures, and made-up models."""

from __future__ import annotations

import argparse
import ctypes
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tqdm import tqdm
from transformers import BertConfig, PreTrainedTokenizerFast

CRITERION_SETTINGS = {"sentence_avg": False, "ddp_backend": "legacy_ddp", "find_unused_parameters": False}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_parser(description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_device_options(parser: argparse.ArgumentParser, bf16: bool = True) -> None:
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    if bf16:
        parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (autocast)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of one thread, for a machine with other work"
    )


def add_dump_options(parser: argparse.ArgumentParser, deviation: float) -> None:
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=4096, help="of the dump")
    parser.add_argument(
        "--deviation", type=float, default=deviation, help="of log-lengths; the default is Multi30k's"
    )


def in_a_folder(measure: Callable[[argparse.Namespace, Path], None], arguments: argparse.Namespace) -> None:
    """Seed torch, keep it to so many threads, and measure with a folder that disappears."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


def begin(args: argparse.Namespace) -> Callable[[], float]:
    """Seed torch, keep it to one thread if CPU time is asked for, and return the clock."""
    torch.manual_seed(1)
    if args.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if args.cpu_time else time.perf_counter
    return clock if args.device == "cpu" else lambda: torch.cuda.synchronize() or clock()


def wall_and_cpu() -> np.ndarray:
    """Return two clocks at once, ``(2,)``; CPU time counts all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def autocast(args: argparse.Namespace) -> torch.autocast:
    return torch.autocast(args.device, torch.bfloat16, enabled=args.bf16)


def precision(args: argparse.Namespace) -> str:
    return "bfloat16 autocast" if args.bf16 else "float32"


def in_turn(
    actions: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], Any],
    warm_up: int = 1,
    progress: str = "",
) -> dict[str, np.ndarray]:
    """Run the actions one after the other, in alternating order, round by round.

    Args:
        actions: what to measure, by name.
        rounds: how many count.
        clock: returns a time, or several ``(times,)``.
        warm_up: rounds before those that count.
        progress: name of a progress bar for a terminal; none without.

    Returns:
        The seconds of each action, ``(rounds,)`` or ``(rounds, times)``, with the same round in the same row,
        so that ratios are of neighbouring runs.
    """
    spent: dict[str, list[Any]] = {name: [] for name in actions}
    turns = [name for i in range(-warm_up, rounds) for name in (actions if i % 2 else reversed(actions))]
    for name in tqdm(turns, desc=progress, disable=None if progress else True):
        start = clock()
        actions[name]()
        spent[name].append(clock() - start)
    return {name: np.array(seconds[warm_up:]) for name, seconds in spent.items()}


def operator_seconds(action: Callable[[], object]) -> dict[str, float]:
    """Return the seconds that each of torch's operators takes on the CPU while the action runs once."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        action()
    return {event.key: event.self_cpu_time_total / 1e6 for event in profiled.key_averages()}


def spread(
    values: Iterable[float], digits: int = 2, form: str = "{} ({}-{})", percentiles: bool = False
) -> str:
    """Return the median with the smallest and the largest value, or the 10th and 90th percentile."""
    ordered = sorted(values)
    out = len(ordered) // 10 if percentiles else 0
    figures = np.median(ordered), ordered[out], ordered[-1 - out]
    return form.format(*(f"{value:,.{digits}f}" for value in figures))


def bracketed(values: Iterable[float], digits: int = 2) -> str:
    return spread(values, digits, "{} [{} to {}]")


def peak_memory(action: Callable[[], object], device: str) -> float:
    """Return how many bytes more than before the action takes at its peak."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        return torch.cuda.max_memory_allocated() - before
    libc = ctypes.CDLL(None)
    libc.mallopt(ctypes.c_int(-3), ctypes.c_int(1 << 20))  # M_MMAP_THRESHOLD: what is large is never kept
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to what is in use
    before = resident("VmHWM")
    action()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024.0 * int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


class Watch:
    """Looks at a field of ``/proc/self/status`` every few milliseconds, since Linux keeps no peak of it.

    Attributes:
        peak: bytes.
    """

    def __init__(self, field: str) -> None:
        self._field, self.peak = field, resident(field)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.peak = max(self.peak, resident(self._field))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.peak = max(self.peak, resident(self._field))


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def fast_tokenizer(backend: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows its special pieces."""
    special = [piece for piece in SPECIAL if backend.token_to_id(piece) is not None]
    names = {f"{piece[1:-1].lower()}_token": piece for piece in special}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def word_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the words ``w0``, ``w1``, ... for classification."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL[:4], *(f"w{i}" for i in range(words))])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return fast_tokenizer(backend)


def bert_config(pieces: int, layers: int, width: int, **others: int) -> BertConfig:
    return BertConfig(
        vocab_size=pieces,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        **others,
    )


def make_transformer(
    vocabulary: int, width: int, layers: int = 3
) -> tuple[argparse.Namespace, torch.nn.Module]:
    """Return a task with dictionaries of that many entries, and fairseq's transformer of as many layers on
    either side."""
    from fairseq.data import Dictionary  # here, since most benchmarks do without fairseq
    from fairseq.models.transformer import TransformerModel, base_architecture

    dictionary = Dictionary()
    for entry in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{entry}")
    task = argparse.Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    sizes = {"embed_dim": width, "ffn_embed_dim": 4 * width, "layers": layers, "attention_heads": 4}
    flags = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()}
    args = argparse.Namespace(**flags, share_all_embeddings=True)
    base_architecture(args)
    return task, TransformerModel.build_model(args, task)


def make_pair(
    vocabulary: int, width: int, device: str
) -> tuple[argparse.Namespace, torch.nn.Module, torch.nn.Module]:
    """Return a student of 3+3 layers, a teacher of 6+6 beside it, and a task that describes both."""
    from fairseq_plugins.models.inner_states import describe_translator

    task, student = make_transformer(vocabulary, width)
    _, teacher = make_transformer(vocabulary, width, layers=6)
    student, teacher = student.to(device).train(), teacher.to(device).eval().requires_grad_(False)
    dictionaries = task.source_dictionary, task.target_dictionary
    task.student_description = describe_translator(student, "student", *dictionaries)
    task.teacher_description = describe_translator(teacher, "teacher", *dictionaries)
    return task, student, teacher
