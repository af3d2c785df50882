"""Metrics of several tasks: the terms and metrics of each under its name, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.logging.meters import AverageMeter, MetersDict

from cmlm_kd.evaluation.glue import measure, usual_metrics
from cmlm_kd.models.multitask import TaskHead
from fairseq_plugins.training.precision import LoggingOutput

TOTALS = ("loss", "ntokens", "nsentences", "sample_size")
"""What fairseq and its trainer read of a logging output."""

RANKS = "reciprocal_ranks"
SCORE = "score"


def under_its_name(name: str, logged: LoggingOutput, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return a batch's logging output with its entries under its task's name, and the totals as they are.

    Args:
        name: the batch's task.
        logged: what the criterion logs.
        names: all tasks, where outputs are added up over workers, which therefore need the same entries.
    """
    found = {key: logged[key] for key in TOTALS}
    for task in names or (name,):
        for key, value in logged.items():
            zero = torch.zeros_like(value) if torch.is_tensor(value) else 0
            found[f"{task}/{key}"] = value if task == name else zero
    return found


def log_each_task(
    logging_outputs: Sequence[LoggingOutput],
    criterion: FairseqCriterion,
    heads: Mapping[str, TaskHead],
    positive: Mapping[str, int],
) -> dict[str, int]:
    """Log the terms of each task as ``NAME_term``, and what it is measured by as ``NAME_metric``.

    Args:
        logging_outputs: of :func:`under_its_name`.
        criterion: whose adapter knows the units.
        heads: name -> :class:`cmlm_kd.models.multitask.TaskHead`.
        positive: name -> class whose F1 is measured, for those with two.

    Returns:
        name -> sentences, or queries.
    """
    sizes = {}
    for name, head in heads.items():
        own = [found for output in logging_outputs if (found := _own(output, name))]
        sizes[name] = sum(output["sample_size"] for output in own)
        if not sizes[name]:
            continue
        with metrics.aggregate(new_root=True) as terms:
            criterion.__class__.reduce_metrics(own)
        for term, meter in terms.items():
            if isinstance(meter, AverageMeter) and term != "loss":
                metrics.log_scalar(f"{name}_{term}", meter.avg, meter.count, round=3)
        _log_metrics(name, head, own, positive.get(name, 1))
    return sizes


def log_main_metrics(main: Mapping[str, str]) -> None:
    """Log the mean of the tasks' main metrics, as GLUE averages them; ``--best-checkpoint-metric score``.

    Args:
        main: name -> metric.
    """

    def mean(meters: MetersDict) -> float:
        values = [
            meters.get_smoothed_value(f"{name}_{metric}")
            for name, metric in main.items()
            if f"{name}_{metric}" in meters
        ]
        return round(sum(values) / len(values), 4)

    metrics.log_derived(SCORE, mean)


def measured(meters: MetersDict, metric: str, prefix: str = "", positive: int = 1) -> float:
    """Return a metric, times 100, of the predictions that were logged under ``prefix``; F1 of the class
    ``positive``."""
    logits, target = (
        meters[f"_{prefix}{part}"].tensor.float().numpy() for part in ("predictions", "targets")
    )
    if logits.shape[1] > 1:
        target = target.astype("int64")
    return round(measure(logits, target, [metric], positive)[metric], 4)


def log_each_exit(logging_outputs: Sequence[LoggingOutput]) -> None:
    """Log the accuracy of each layer's classifier but the last as ``exit1_accuracy``, ..., and their mean.

    Args:
        logging_outputs: of validation, with ``exits`` ``(L, B, C)`` and ``targets`` ``(B,)``.
    """
    exits = torch.cat([output["exits"].cpu() for output in logging_outputs], 1)  # (L, N, C)
    targets = torch.cat([output["targets"].cpu() for output in logging_outputs])  # (N,)
    names = [f"exit{layer}_" for layer in range(1, len(exits))]
    for name, logits in zip(names, exits, strict=False):
        metrics.log_concat_tensor(f"_{name}predictions", logits)
        metrics.log_concat_tensor(f"_{name}targets", targets)
        metrics.log_derived(
            f"{name}accuracy", lambda meters, name=name: measured(meters, "accuracy", prefix=name)
        )

    def mean(meters: MetersDict) -> float:
        return round(sum(measured(meters, "accuracy", prefix=name) for name in names) / len(names), 4)

    metrics.log_derived("branch_accuracy", mean)


def gather_without_gpu(size: int) -> None:
    """Give fairseq the buffers in which workers exchange predictions; by itself it makes them on a GPU.

    Args:
        size: bytes of each worker (``--all-gather-list-size``).
    """
    workers = distributed_utils.get_data_parallel_world_size()
    if workers > 1 and not torch.cuda.is_available():
        distributed_utils.all_gather_list._buffer = torch.zeros(size * workers, dtype=torch.uint8)
        distributed_utils.all_gather_list._cpu_buffer = torch.zeros(size, dtype=torch.uint8)


def _own(output: LoggingOutput, name: str) -> LoggingOutput:
    """Return a task's entries of a logging output."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in output.items() if key.startswith(prefix)}


def _log_metrics(name: str, head: TaskHead, own: Sequence[LoggingOutput], positive: int) -> None:
    """Log the predictions of a task, if there are some, and what is derived from them."""
    if RANKS in own[0]:
        ranks = torch.cat([output[RANKS].cpu() for output in own])  # (G,)
        metrics.log_scalar(f"{name}_top1", 100 * (ranks == 1).float().mean().item(), len(ranks), round=4)
        metrics.log_scalar(f"{name}_mrr", 100 * ranks.mean().item(), len(ranks), round=4)
    if "predictions" not in own[0]:
        return
    for part in ("predictions", "targets"):
        together = torch.cat([output[part].cpu() for output in own])
        metrics.log_concat_tensor(f"_{name}_{part}", together)
    for metric in usual_metrics(len(head.labels)):
        metrics.log_derived(
            f"{name}_{metric}", lambda meters, metric=metric: measured(meters, metric, f"{name}_", positive)
        )
