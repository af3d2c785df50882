"""What fairseq-train would find out at its first validation, or never, found out before the first update."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fairseq.checkpoint_utils
from fairseq.data import FairseqDataset
from fairseq.logging import metrics
from omegaconf import DictConfig

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import HEADS, OPTIMIZED, task_state
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, settings_of
from fairseq_plugins.training.starting_point import LAST, starting_checkpoint
from fairseq_plugins.training.task_origin import is_of_plugin

PROBED_ROWS = 32
"""Of a validation set, at most; those of one batch are :data:`PROBED_AT_ONCE`."""

PROBED_AT_ONCE = 8

_HIGHER = ("accuracy", "bleu", "f1", "matthews", "mrr", "pearson", "score", "spearman", "top1")
_LOWER = ("loss", "ppl")


def check_before_training() -> None:
    """Let a training of one of the plug-in's tasks look at what it will need later, before it loads data.

    One of our criteria looks whether there is a teacher, whatever the task: not when it is built, since
    fairseq-validate builds it too and reads none.
    """
    load = fairseq.checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_checked(cfg: DictConfig, trainer: Any, **passed: Any) -> Any:
        criterion = trainer.get_criterion()
        if hasattr(criterion, "check_taught"):
            criterion.check_taught(trainer.task)
        if not is_of_plugin(trainer.task):
            return load(cfg, trainer, **passed)
        check_best_metric(trainer)
        optimized = optimized_weights(trainer)
        heads = [head.name for head in getattr(trainer.task, "heads", ())]
        earlier = check_optimizer(cfg, optimized, trainer.cfg.criterion, heads)
        result = load(cfg, trainer, **passed)
        if earlier and hasattr(criterion, "resume"):
            criterion.resume(earlier)
        # The checkpoint's task state, an earlier training's, has replaced what the task said.
        trainer.task.state.merge_state_dict({OPTIMIZED: optimized})
        return result

    fairseq.checkpoint_utils.load_checkpoint = load_checked


# -- the metric of the best checkpoint ---------------------------------------------------------------------


def check_best_metric(trainer: Any) -> None:
    """Refuse a ``--best-checkpoint-metric`` that no validation gives, or whose worst value would be kept.

    fairseq ends the first validation in a KeyError in the one case and says nothing in the other.

    Args:
        trainer: of fairseq, with its validation sets.

    Raises:
        UserError: naming the metrics that there are.
    """
    saving, name = trainer.cfg.checkpoint, trainer.task.cfg._name
    metric = saving.best_checkpoint_metric
    if trainer.cfg.dataset.disable_validation:
        return
    found = {"loss", "bleu"} if getattr(trainer.task.cfg, "eval_bleu", False) else {"loss"}
    probes = _probes(trainer)
    while metric not in found and (sample := next(probes, None)) is not None:
        found.update(key for key in _logged(trainer, sample) if not key.startswith("_"))
    if metric not in found:
        hint = "; bleu takes --eval-bleu" if metric == "bleu" else ""
        raise UserError(
            f"{name}: --best-checkpoint-metric {metric} is nothing that this validation gives, which are "
            f"{', '.join(sorted(found - _OF_TRAINER))}{hint}"
        )
    direction, flag = metric.rpartition("_")[2], "--maximize-best-checkpoint-metric"
    if direction in _HIGHER and not saving.maximize_best_checkpoint_metric:
        raise UserError(f"{name}: the higher {metric} the better: pass {flag}, or the worst is kept as best")
    if direction in _LOWER and saving.maximize_best_checkpoint_metric:
        raise UserError(f"{name}: the lower {metric} the better: leave out {flag}, which keeps the worst")


_OF_TRAINER = {"wps", "wpb", "bsz", "ups", "gnorm", "clip", "oom", "loss_scale"}


def _logged(trainer: Any, sample: dict[str, Any]) -> list[str]:
    """Return the names of what is measured on a batch.

    fairseq's own way to measure apart leaves its meters where an exception goes through it: a caller that
    goes on after that, as tests do, would find no ``default`` ones.
    """
    error: Exception | None = None
    with metrics.aggregate(new_root=True) as logged:
        try:
            trainer.valid_step(sample)
        except Exception as found:
            error = found
    if error is not None:
        raise error
    return list(logged)


def _probes(trainer: Any) -> Iterator[dict[str, Any]]:
    """Yield some small batches of the first validation set; of several tasks, of each."""
    dataset: FairseqDataset = trainer.task.dataset(trainer.cfg.dataset.valid_subset.split(",")[0])
    starts: Mapping[Any, int] = getattr(dataset, "first_rows", {None: 0})
    ends = [*list(starts.values())[1:], len(dataset)]
    per_part = [
        _batches(start, min(end, start + PROBED_ROWS))
        for start, end in zip(starts.values(), ends, strict=True)
    ]
    for together in itertools.zip_longest(*per_part):
        for rows in filter(None, together):
            yield dataset.collater([dataset[row] for row in rows])


def _batches(start: int, end: int) -> Iterator[range]:
    for first in range(start, end, PROBED_AT_ONCE):
        yield range(first, min(end, first + PROBED_AT_ONCE))


# -- the optimizer's moments -------------------------------------------------------------------------------


def optimized_weights(trainer: Any) -> list[list[Any]]:
    """Return name and shape of each of the weights that are trained, in the order of the optimizer."""
    named = itertools.chain(
        trainer.get_model().named_parameters(), trainer.get_criterion().named_parameters(prefix="criterion")
    )
    return [[name, list(weight.shape)] for name, weight in named if weight.requires_grad]


def check_optimizer(
    cfg: DictConfig, optimized: list[list[Any]], criterion: Any, heads: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Refuse to go on with the moments of an optimizer that had other weights, or these in another order.

    An optimizer's state knows weights by their place alone, so that moments of one head would become those
    of another.

    Args:
        cfg: settings of checkpoints.
        optimized: see :func:`optimized_weights`.
        criterion: settings of this training's.
        heads: of the tasks of a student of several, in order; of checkpoints that do not name their weights
            the order is compared alone.

    Returns:
        The settings of the criterion so far; none for a training that begins, or begins without moments.

    Raises:
        UserError: naming the first weight that differs, or the stages, where a criterion has some.
    """
    path = starting_checkpoint(cfg)
    first_start = cfg.restore_file == LAST and not (Path(cfg.save_dir) / LAST).is_file()
    if path is None or cfg.reset_optimizer or first_start:
        return {}
    checkpoint = read_checkpoint(path)
    settings = settings_of(checkpoint, "criterion")
    _check_stage(path, settings, criterion)
    state = task_state(checkpoint)
    earlier = state.get(OPTIMIZED)
    names = [head["name"] for head in state.get(HEADS, ())]
    order = f"--corpora in the order of the checkpoint ({','.join(names)}), " if names else ""
    if earlier is None:
        if names != list(heads) and sorted(names) == sorted(heads):
            raise UserError(
                f"{path}: its optimizer knows the weights of {', '.join(names)} by their order; give "
                f"{order}or --reset-optimizer to begin without its moments"
            )
        return settings
    here = [(name, tuple(shape)) for name, shape in optimized]
    there = [(name, tuple(shape)) for name, shape in earlier]
    if here == there:
        return settings
    place, (old, new) = next(
        (place, pair) for place, pair in enumerate(itertools.zip_longest(there, here)) if pair[0] != pair[1]
    )
    raise UserError(
        f"{path}: its optimizer has {_weight(old)} in place {place + 1}, this training {_weight(new)}; give "
        f"{order}the criterion and settings that it was trained with, another --save-dir to train anew, or "
        "--reset-optimizer to begin without its moments"
    )


def _check_stage(path: Path, earlier: Mapping[str, Any], criterion: Any) -> None:
    old, new = (str(stage) for stage in (earlier.get("kd_stage"), getattr(criterion, "kd_stage", None)))
    if "None" not in (old, new) and old != new:
        raise UserError(
            f"{criterion._name}: {path} is of --kd-stage {old}, with its updates and the moments of its "
            f"optimizer; give --kd-stage {new} a --save-dir of its own, and {path} as --finetune-from-model"
        )


def _weight(found: tuple[str, tuple[int, ...]] | None) -> str:
    return "nothing" if found is None else f"{found[0]} {found[1]}"
