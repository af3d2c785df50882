"""What a teacher costs: a training step with soft targets against fairseq's own step without a teacher.

Prints, for each vocabulary size, ratios of times measured in turn in one process (median, and the 10th to
90th percentile), and the peak memory of the loss::

    python benchmarks/kd_step.py [--bf16] [--device cuda] [--vocabulary 10000 32000 120000] [--repeats 5]
                                 [--optimizer fused_adam] [--profile]

step      forward, loss, backward and Adam of a 3+3-layer transformer, d = 256, on 4,096 target tokens without
          padding: soft_target_kd (fused) / label_smoothed_cross_entropy; the latter always has fairseq's
          Adam, the former what --optimizer names
selective the same step with other tokens every time: selective_kd / soft_target_kd, both fused, tokens chosen
          by --selection (batch, global, confidence); mended: tokens projected twice because they were guessed
gather    output layer and loss alone, forward and backward: fused / dense by gathering log-probabilities
scatter   the same: fused / dense by scattering the soft targets into a (tokens, vocabulary) matrix
memory    peak memory of output layer and loss: fused / dense (gather)
products  with --profile: the share of either step that its matrix products take, attention's among them. What
          the plain step's share is, no exact step can come below in the same precision
"""

from __future__ import annotations

import contextlib
import itertools
from argparse import Namespace
from collections.abc import Iterator

import measuring
import numpy as np
import torch
import torch.nn.functional as F
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.optim.adam import Adam

import fairseq_plugins  # noqa: F401 - registers the criterion
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.criteria.selective import SelectiveConfig
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD
from cmlm_kd.losses.selection import SelectiveBlocks
from cmlm_kd.optim import FusedAdam

LENGTH, WIDTH, TOP_K = 32, 256, 8
PRODUCTS = tuple(f"aten::{name}" for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "mkldnn_linear"))
PAD = 1


def make_sample(vocabulary: int, sentences: int, device: str, length: int = LENGTH) -> dict:
    source = torch.randint(4, vocabulary, (sentences, length), device=device)  # (B, S)
    target = torch.randint(4, vocabulary, (sentences, length), device=device)  # (B, T)
    previous = torch.cat((torch.full((sentences, 1), 2, device=device), target[:, :-1]), 1)  # (B, T)
    return {
        "net_input": {
            "src_tokens": source,
            "src_lengths": torch.full((sentences,), length, device=device),
            "prev_output_tokens": previous,
        },
        "target": target,
        "ntokens": target.numel(),
        "nsentences": sentences,
        "teacher": make_teacher(vocabulary, sentences, device, length).to_batch(),
    }


def make_teacher(vocabulary: int, sentences: int, device: str, length: int = LENGTH) -> SoftTargets:
    shape = (sentences, length, TOP_K)
    return SoftTargets(
        ids=torch.randint(4, vocabulary, shape, device=device),
        logits=(4 * torch.randn(shape, device=device)).sort(descending=True).values.half(),
        tail=torch.zeros(sentences, length, 1, dtype=torch.float16, device=device),
        valid=torch.ones(sentences, length, dtype=torch.bool, device=device),
    )


def make_criterions(task: Namespace, selection: str) -> dict[str, torch.nn.Module]:
    configs = {
        "soft_target_kd": SoftTargetConfig(kd_implementation="fused"),
        "selective_kd": SelectiveConfig(kd_implementation="fused", kd_selection=selection),
    }
    made = {
        name: CRITERION_REGISTRY[name](Namespace(**vars(config), **measuring.CRITERION_SETTINGS), task)
        for name, config in configs.items()
    }
    return {
        "kd": made["soft_target_kd"],
        "selective": made["selective_kd"],
        "plain": LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1),
    }


def make_steps(vocabulary: int, args: Namespace) -> dict:
    """Return training steps of one model: with a teacher, with one that is heard in part, without."""
    task, model = measuring.make_transformer(vocabulary, WIDTH)
    model = model.to(args.device).train()
    plain = Adam(model.parameters(), lr=1e-5)
    chosen = plain if args.optimizer == "adam" else FusedAdam(model.parameters(), lr=1e-5)
    samples = {}  # of each step its own sequence of batches, the same for all: gates move as in a training

    def step(name, criterion):
        made = samples.setdefault(name, iter(_samples(vocabulary, args)))
        sample = next(made)
        with measuring.autocast(args):
            loss, size, _ = criterion(model, sample)
        loss.backward()
        optimizer = plain if name == "plain" else chosen
        for parameter in model.parameters():
            parameter.grad.div_(size)
        optimizer.step()
        model.zero_grad(set_to_none=True)

    return {
        name: lambda name=name, criterion=criterion: step(name, criterion)
        for name, criterion in make_criterions(task, args.selection).items()
    }


def _samples(vocabulary: int, args: Namespace) -> Iterator[dict]:
    for seed in itertools.count():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield make_sample(vocabulary, args.sentences, args.device)


@contextlib.contextmanager
def counting_mended_tokens() -> Iterator[list[int]]:
    """Note how many tokens each selective step projects twice."""
    found, mend = [], SelectiveBlocks.mend

    def counted(self):
        result = mend(self)
        found.append(0 if result is None else len(result[0]))
        return result

    SelectiveBlocks.mend = counted
    try:
        yield found
    finally:
        SelectiveBlocks.mend = mend


def make_losses(vocabulary: int, args: Namespace) -> dict:
    """Return output layer and loss alone, forward and backward, in three forms."""
    sentences, device = args.sentences, args.device
    features = torch.randn(sentences, LENGTH, WIDTH, device=device, requires_grad=True)
    weight = (torch.randn(vocabulary, WIDTH, device=device) * WIDTH**-0.5).requires_grad_()
    target = torch.randint(4, vocabulary, (sentences, LENGTH), device=device)  # (B, T)
    teacher = make_teacher(vocabulary, sentences, device)
    criterion = SoftTargetKD(SoftTargetConfig(), PAD)

    def run(loss):
        with measuring.autocast(args):
            value = loss()
        value.backward()
        features.grad = weight.grad = None

    def fused():
        student = ModelOutput(features=features, weight=weight)
        return criterion.training_loss(student, target, TeacherSignal(soft_targets=teacher)).loss

    def gather():
        student = ModelOutput(logits=F.linear(features, weight))
        return criterion.training_loss(student, target, TeacherSignal(soft_targets=teacher)).loss

    def scatter():
        logits = F.linear(features, weight).flatten(0, 1).float()  # (N, V)
        log_probs = F.log_softmax(logits, -1)  # (N, V)
        probs = (teacher.logits.float() / criterion.config.kd_temperature).softmax(-1).flatten(0, 1)  # (N, k)
        soft = torch.zeros_like(logits).scatter_add_(1, teacher.ids.flatten(0, 1), probs)  # (N, V)
        hard = F.cross_entropy(logits, target.flatten(), label_smoothing=0.1, reduction="sum")
        return 0.5 * hard - 0.5 * (soft * log_probs).sum()

    return {form.__name__: lambda form=form: run(form) for form in (fused, gather, scatter)}


def products(steps: dict, rounds: int) -> str:
    """Return the share of the time that matrix products take, of a step with a teacher and of one without."""
    shares: dict[str, list[float]] = {"kd": [], "plain": []}
    for _ in range(rounds):
        for name, found in shares.items():
            seconds = measuring.operator_seconds(steps[name])
            found.append(sum(seconds.get(product, 0.0) for product in PRODUCTS) / sum(seconds.values()))
    kd, plain = (measuring.spread(found, percentiles=True) for found in shares.values())
    return f"products {kd} of the step, {plain} of the plain one"


def ratio(times: dict[str, np.ndarray], upper: str, lower: str) -> str:
    quotient = measuring.spread(times[upper] / times[lower], percentiles=True)
    return f"{quotient} of {np.median(times[lower]):.2f} s"


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_000, 32_000, 120_000])
    parser.add_argument("--repeats", type=int, default=5)
    measuring.add_device_options(parser)
    parser.add_argument("--sentences", type=int, default=128, help="of 32 tokens a batch")
    parser.add_argument("--selection", choices=["batch", "global", "confidence"], default="batch")
    parser.add_argument("--only", choices=["step", "loss"], help="measure one of the two")
    parser.add_argument("--optimizer", choices=["adam", "fused_adam"], default="adam", help="of the step")
    parser.add_argument(
        "--profile", action="store_true", help="print what matrix products take of a step, too"
    )
    args = parser.parse_args()
    clock = measuring.begin(args)
    threads = f"{torch.get_num_threads()} threads" if args.device == "cpu" else torch.cuda.get_device_name()
    tokens, precision = args.sentences * LENGTH, measuring.precision(args)
    print(f"{tokens} target tokens, d={WIDTH}, k={TOP_K}, {precision}, {args.device}, {threads}")
    for vocabulary in args.vocabulary:
        line = [f"V={vocabulary:<7}"]
        if args.only != "loss":
            steps = make_steps(vocabulary, args)
            with counting_mended_tokens() as mended:
                times = measuring.in_turn(steps, args.repeats, clock)
            line.append(f"step {ratio(times, 'kd', 'plain')}")
            share = np.median(mended[1:]) / tokens  # nothing is known at the first step
            line.append(f"selective {ratio(times, 'selective', 'kd')} (mended {share:.1%} of the tokens)")
            if args.profile:
                line.append(products(steps, args.repeats))
        if args.only != "step":
            times = measuring.in_turn(make_losses(vocabulary, args), args.repeats, clock)
            line += [f"{form} {ratio(times, 'fused', form)}" for form in ("gather", "scatter")]
        print("  ".join(line), flush=True)
    for vocabulary in args.vocabulary if args.only != "step" else ():  # last: it changes how memory is kept
        losses = make_losses(vocabulary, args)
        fused, dense = (measuring.peak_memory(losses[form], args.device) for form in ("fused", "gather"))
        share = fused / max(dense, 1.0)
        print(f"V={vocabulary:<7}  memory {share:.2f} ({fused / 2**20:.0f} / {dense / 2**20:.0f} MiB)")


if __name__ == "__main__":
    main()
