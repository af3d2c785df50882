"""The loss with soft targets against torch's own chunked loss, and against the least that one costs.

Forward and backward of output layer and loss, one thread, CPU time, round by round in turn; medians of the
rounds' ratios, with the smallest and the largest::

    python benchmarks/loss.py [--tokens 2048] [--vocabulary 10000 32000] [--rounds 9]

torch      ``cmlm_kd.losses.sparse_kd_loss`` with k = 8 soft targets and label smoothing / torch's chunked
           ``linear_cross_entropy`` (2.13 and later), which has hard labels and nothing else
products   the same / its three matrix products alone, in the same chunks and in buffers that are there
memory     peak memory of the first / of torch's

Before any time is taken, ours with alpha 0 must give torch's loss and gradients.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import measuring
import torch
import torch.nn.functional as F

from cmlm_kd.api import SoftTargets
from cmlm_kd.losses import sparse_kd_loss

TOP_K = 8
PRODUCTS_CHUNK = 512  # float32 tokens of a bare product; twice as many in half precision
GOALS_FROM = 32_000  # entries; the goals against torch's loss are for large vocabularies
GOALS = {  # of the ratios to torch's loss, to the products and of memory
    "float32": ("at most 0.45", "at most 1.1", "at most 1.0"),
    "bfloat16": ("at most 0.45", "at most 1.3", "at most 1.0"),
}


def make_inputs(args: Namespace, vocabulary: int) -> tuple[torch.Tensor, ...]:
    features = torch.randn(args.tokens, args.width, requires_grad=True)  # (N, d)
    weight = (torch.randn(vocabulary, args.width) * args.width**-0.5).requires_grad_()  # (V, d)
    return features, weight, torch.randint(4, vocabulary, (args.tokens,))  # (N,)


def make_teacher(tokens: int, vocabulary: int) -> SoftTargets:
    ids = torch.randint(4, vocabulary, (tokens, TOP_K))  # (N, k)
    logits = (4 * torch.randn(tokens, TOP_K)).sort(descending=True).values.half()  # (N, k)
    return SoftTargets(ids, logits, torch.zeros(tokens, 1).half(), torch.ones(tokens, dtype=torch.bool))


def bare_products(
    features: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype
) -> Callable[[], torch.Tensor]:
    """Return an action with the three products of a loss; logits serve as their own gradient."""
    hidden, output = features.detach().to(dtype), weight.detach().to(dtype)  # (N, d), (V, d)
    chunk = PRODUCTS_CHUNK * 4 // dtype.itemsize
    logits = hidden.new_empty(chunk, output.size(0))  # (n, V)
    for_features, for_weight = torch.empty_like(hidden), torch.zeros_like(output)

    def run() -> torch.Tensor:
        for start in range(0, hidden.size(0), chunk):
            part = hidden[start : start + chunk]  # (n, d)
            block = logits[: part.size(0)]  # (n, V)
            torch.mm(part, output.t(), out=block)
            torch.mm(block, output, out=for_features[start : start + chunk])
            for_weight.addmm_(block.t(), part, beta=0)
        return for_weight

    return run


def make_actions(args: Namespace, vocabulary: int, bf16: bool) -> dict[str, Callable[[], object]]:
    features, weight, targets = make_inputs(args, vocabulary)
    teacher = make_teacher(args.tokens, vocabulary)
    options = torch.nn.LinearCrossEntropyOptions()

    def backward(loss: torch.Tensor) -> list[torch.Tensor]:
        loss.backward()
        found = [loss.detach(), features.grad, weight.grad]
        features.grad = weight.grad = None
        return found

    def ours(**settings: object) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = sparse_kd_loss(features, weight, None, targets, teacher, reduction="sum", **settings)
        return backward(loss)

    def theirs() -> list[torch.Tensor]:
        narrow = torch.bfloat16 if bf16 else torch.float32
        return backward(
            F.linear_cross_entropy(
                features.to(narrow), weight.to(narrow), targets, reduction="sum", options=options
            )
        )

    check_equal(ours(alpha=0.0), theirs(), 0.05 if bf16 else 1e-3)
    return {
        "ours": lambda: ours(alpha=0.5, temperature=2.0, label_smoothing=0.1),
        "torch": theirs,
        "products": bare_products(features, weight, torch.bfloat16 if bf16 else torch.float32),
    }


def stated(goal: str, vocabulary: int) -> str:
    """Return a goal against torch's loss as it is printed, nothing where there is none."""
    return f" ({goal})" if vocabulary >= GOALS_FROM else ""


def check_equal(ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float) -> None:
    for found, wanted in zip(ours, theirs, strict=True):
        distance = float((found - wanted).norm() / wanted.norm())
        if not distance <= tolerance:
            raise SystemExit(f"the two losses differ by {distance:.2g} of their size")


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[10_000, 32_000])
    parser.add_argument("--precision", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        raise SystemExit(f"torch {torch.__version__} has no chunked linear_cross_entropy; 2.13 has")
    clock = measuring.begin(Namespace(cpu_time=True, device="cpu"))
    print(f"{args.tokens} tokens, d={args.width}, k={TOP_K}, CPU time of one thread")
    for name in args.precision:
        against_torch, against_products, _ = GOALS[name]
        for vocabulary in args.vocabulary:
            actions = make_actions(args, vocabulary, name == "bfloat16")
            times = measuring.in_turn(actions, args.rounds, clock)
            ours = times["ours"]
            place = f"{name}, V={vocabulary}: loss"
            goal = stated(against_torch, vocabulary)
            print(f"{place} / torch's chunked{goal}: {measuring.spread(ours / times['torch'])}")
            products = measuring.spread(ours / times["products"])
            print(f"{place} / three products ({against_products}): {products}", flush=True)
    for name in args.precision:  # last: it changes how memory is kept
        for vocabulary in args.vocabulary:
            actions = make_actions(args, vocabulary, name == "bfloat16")
            peaks = {kind: measuring.peak_memory(actions[kind], "cpu") for kind in ("ours", "torch")}
            ratio = peaks["ours"] / max(peaks["torch"], 1.0)
            sizes = " of ".join(f"{peak / 2**20:.0f}" for peak in peaks.values())
            place = f"{name}, V={vocabulary}: memory"
            print(f"{place} / torch's chunked{stated(GOALS[name][2], vocabulary)}: {ratio:.2f} ({sizes} MiB)")


if __name__ == "__main__":
    main()
