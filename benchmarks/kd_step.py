"""What a teacher costs: a training step with soft targets against fairseq's own step without a teacher.

Prints, for each vocabulary size, ratios of times measured in turn in one process (median, and the 10th to
90th percentile), and the peak memory of the loss::

    python benchmarks/kd_step.py [--bf16] [--device cuda] [--vocabulary 10000 32000 120000] [--repeats 5]

step      forward, loss, backward and Adam of a 3+3-layer transformer, d = 256, on 4,096 target tokens without
          padding: soft_target_kd (fused) / label_smoothed_cross_entropy
gather    output layer and loss alone, forward and backward: fused / dense by gathering log-probabilities
scatter   the same: fused / dense by scattering the soft targets into a (tokens, vocabulary) matrix
memory    peak memory of output layer and loss: fused / dense (gather)
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import statistics
import time
from argparse import Namespace
from pathlib import Path

import torch
import torch.nn.functional as F
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture
from fairseq.optim.adam import Adam

import fairseq_plugins  # noqa: F401 - registers the criterion
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD
from cmlm_kd.criterion import StudentOutput
from cmlm_kd.signals import SoftTargets, TeacherSignal

LENGTH, WIDTH, TOP_K = 32, 256, 8
PAD = 1


def make_task(vocabulary: int) -> Namespace:
    dictionary = Dictionary()
    for entry in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{entry}")
    return Namespace(source_dictionary=dictionary, target_dictionary=dictionary)


def make_model(task: Namespace) -> TransformerModel:
    args = Namespace(
        encoder_layers=3,
        decoder_layers=3,
        encoder_embed_dim=WIDTH,
        encoder_ffn_embed_dim=4 * WIDTH,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        share_all_embeddings=True,
        max_source_positions=256,
        max_target_positions=256,
    )
    base_architecture(args)
    return TransformerModel.build_model(args, task)


def make_sample(vocabulary: int, sentences: int, device: str) -> dict:
    source = torch.randint(4, vocabulary, (sentences, LENGTH), device=device)  # (B, S)
    target = torch.randint(4, vocabulary, (sentences, LENGTH), device=device)  # (B, T)
    previous = torch.cat((torch.full((sentences, 1), 2, device=device), target[:, :-1]), 1)  # (B, T)
    return {
        "net_input": {
            "src_tokens": source,
            "src_lengths": torch.full((sentences,), LENGTH, device=device),
            "prev_output_tokens": previous,
        },
        "target": target,
        "ntokens": target.numel(),
        "nsentences": sentences,
        "teacher": make_teacher(vocabulary, sentences, device).to_batch(),
    }


def make_teacher(vocabulary: int, sentences: int, device: str) -> SoftTargets:
    shape = (sentences, LENGTH, TOP_K)
    return SoftTargets(
        ids=torch.randint(4, vocabulary, shape, device=device),
        logits=(4 * torch.randn(shape, device=device)).sort(descending=True).values.half(),
        tail=torch.zeros(sentences, LENGTH, 1, dtype=torch.float16, device=device),
        valid=torch.ones(sentences, LENGTH, dtype=torch.bool, device=device),
    )


def make_criterions(task: Namespace) -> dict[str, torch.nn.Module]:
    config = Namespace(
        **vars(SoftTargetConfig(kd_implementation="fused")),
        sentence_avg=False,
        ddp_backend="legacy_ddp",
        find_unused_parameters=False,
    )
    return {
        "kd": CRITERION_REGISTRY["soft_target_kd"](config, task),
        "plain": LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1),
    }


def make_steps(vocabulary: int, sentences: int, device: str, autocast) -> dict:
    """Return two training steps of one model, with and without a teacher."""
    task = make_task(vocabulary)
    model, sample = make_model(task).to(device).train(), make_sample(vocabulary, sentences, device)
    optimizer = Adam(model.parameters(), lr=1e-5)

    def step(criterion):
        with autocast():
            loss, size, _ = criterion(model, sample)
        loss.backward()
        for parameter in model.parameters():
            parameter.grad.div_(size)
        optimizer.step()
        model.zero_grad(set_to_none=True)

    return {
        name: lambda criterion=criterion: step(criterion) for name, criterion in make_criterions(task).items()
    }


def make_losses(vocabulary: int, sentences: int, device: str, autocast) -> dict:
    """Return output layer and loss alone, forward and backward, in three forms."""
    features = torch.randn(sentences, LENGTH, WIDTH, device=device, requires_grad=True)
    weight = (torch.randn(vocabulary, WIDTH, device=device) * WIDTH**-0.5).requires_grad_()
    target = torch.randint(4, vocabulary, (sentences, LENGTH), device=device)  # (B, T)
    teacher = make_teacher(vocabulary, sentences, device)
    criterion = SoftTargetKD(SoftTargetConfig(), PAD)

    def run(loss):
        with autocast():
            value = loss()
        value.backward()
        features.grad = weight.grad = None

    def fused():
        student = StudentOutput(features=features, weight=weight)
        return criterion.training_loss(student, target, TeacherSignal(soft_targets=teacher)).loss

    def gather():
        student = StudentOutput(logits=F.linear(features, weight))
        return criterion.training_loss(student, target, TeacherSignal(soft_targets=teacher)).loss

    def scatter():
        logits = F.linear(features, weight).flatten(0, 1).float()  # (N, V)
        log_probs = F.log_softmax(logits, -1)  # (N, V)
        probs = (teacher.logits.float() / criterion.config.kd_temperature).softmax(-1).flatten(0, 1)  # (N, k)
        soft = torch.zeros_like(logits).scatter_add_(1, teacher.ids.flatten(0, 1), probs)  # (N, V)
        hard = F.cross_entropy(logits, target.flatten(), label_smoothing=0.1, reduction="sum")
        return 0.5 * hard - 0.5 * (soft * log_probs).sum()

    return {form.__name__: lambda form=form: run(form) for form in (fused, gather, scatter)}


def seconds(action, clock) -> float:
    start = clock()
    action()
    return clock() - start


def make_clock(device: str, cpu_time: bool):
    if device == "cuda":
        return lambda: torch.cuda.synchronize() or time.perf_counter()
    return time.process_time if cpu_time else time.perf_counter


def in_turn(actions: dict, repeats: int, clock) -> dict[str, list[float]]:
    """Run the actions one after the other, in alternating order, after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(-1, repeats):
        names = list(actions) if repeat % 2 else list(reversed(actions))
        for name in names:
            spent = seconds(actions[name], clock)
            if repeat >= 0:
                times[name].append(spent)
    return times


def ratio(times: dict[str, list[float]], upper: str, lower: str) -> str:
    """Return the median of the ratios of neighbouring runs with their 10th and 90th percentile."""
    ratios = sorted(a / b for a, b in zip(times[upper], times[lower], strict=True))
    low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
    return f"{statistics.median(ratios):.2f} ({low:.2f}-{high:.2f})"


def peak_memory(action, device: str) -> float:
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_000, 32_000, 120_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (autocast)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sentences", type=int, default=128, help="of 32 tokens a batch")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of one thread, for a machine with other work"
    )
    parser.add_argument("--only", choices=["step", "loss"], help="measure one of the two")
    args = parser.parse_args()
    torch.manual_seed(1)

    def autocast():
        return torch.autocast(args.device, torch.bfloat16) if args.bf16 else contextlib.nullcontext()

    if args.cpu_time:
        torch.set_num_threads(1)
    clock = make_clock(args.device, args.cpu_time)
    precision = "bfloat16 autocast" if args.bf16 else "float32"
    threads = f"{torch.get_num_threads()} threads" if args.device == "cpu" else torch.cuda.get_device_name()
    tokens = args.sentences * LENGTH
    print(f"{tokens} target tokens, d={WIDTH}, k={TOP_K}, {precision}, {args.device}, {threads}")
    for vocabulary in args.vocabulary:
        line = [f"V={vocabulary:<7}"]
        if args.only != "loss":
            times = in_turn(
                make_steps(vocabulary, args.sentences, args.device, autocast), args.repeats, clock
            )
            line.append(f"step {ratio(times, 'kd', 'plain')} of {statistics.median(times['plain']):.2f} s")
        if args.only != "step":
            times = in_turn(
                make_losses(vocabulary, args.sentences, args.device, autocast), args.repeats, clock
            )
            for form in ("gather", "scatter"):
                line.append(f"{form} {ratio(times, 'fused', form)} of {statistics.median(times[form]):.2f} s")
        print("  ".join(line), flush=True)
    for vocabulary in args.vocabulary if args.only != "step" else ():  # last: it changes how memory is kept
        losses = make_losses(vocabulary, args.sentences, args.device, autocast)
        fused, dense = (peak_memory(losses[form], args.device) for form in ("fused", "gather"))
        share = fused / max(dense, 1.0)
        print(f"V={vocabulary:<7}  memory {share:.2f} ({fused / 2**20:.0f} / {dense / 2**20:.0f} MiB)")


if __name__ == "__main__":
    main()
