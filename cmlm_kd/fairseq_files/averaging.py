"""Averages of the checkpoints of one training run, and the choice of which."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import (
    FOLD,
    HEADS,
    INPUTS_HASH,
    LABELS,
    check_same_entries,
    task_state,
)
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, settings_of

_OUTPUTS = {LABELS: "classes", HEADS: "tasks", INPUTS_HASH: "tokenizer"}
"""What the weights of students over sentences stand for, under its key in a checkpoint -> its name."""


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the newest checkpoint with the mean of all models' weights, taken in float64, in its place.

    Integer buffers are the newest checkpoint's. The optimizer's state is left out, it belongs to no mean.
    ``extra_state["averaged"]`` keeps the names and updates of what was averaged.

    Raises:
        UserError: nothing to average, a file is no checkpoint, or the models differ in weights, shapes,
            dictionaries, classes or the part of the training set that they were kept from, or a mean is not
            finite.
    """
    if not paths:
        raise UserError("no checkpoint to average")
    states = [read_checkpoint(path) for path in paths]  # read lazily: only one tensor at a time is in memory
    newest = max(states, key=number_of_updates)
    for path, state in zip(paths, states, strict=True):
        _check_same_model(path, state["model"], paths[0], states[0]["model"])
        check_same_entries(
            str(path),
            task_state(state),
            str(paths[0]),
            task_state(states[0]),
            "average checkpoints of one training run",
        )
        _check_same_fold(path, task_state(state).get(FOLD), paths[0], task_state(states[0]).get(FOLD))
        _check_same_outputs(path, task_state(state), paths[0], task_state(states[0]))
    averaged = {key: value for key, value in newest.items() if key != "last_optimizer_state"}
    averaged["model"] = _mean_weights([state["model"] for state in states], newest["model"])
    _check_finite(averaged["model"], paths)
    updates = {path.name: number_of_updates(state) for path, state in zip(paths, states, strict=True)}
    averaged["extra_state"] = {**(newest.get("extra_state") or {}), "averaged": updates}
    return averaged


def select_checkpoints(directory: Path, last: int | None = None, best: int | None = None) -> list[Path]:
    """Return checkpoints of a ``--save-dir``, each update once.

    Args:
        directory: where fairseq saved.
        last: take this many with the most updates, newest first.
        best: take this many with the best validation score, best first. Whether more is better is what the
            run was told (``--maximize-best-checkpoint-metric``).

    Raises:
        UserError: neither or both are given, or there are fewer checkpoints.
    """
    if (last is None) == (best is None):
        raise UserError("give exactly one of --last and --best")
    count = last if last is not None else best
    if count is None or count < 1:
        raise UserError(f"{count} checkpoints: at least 1 is needed")
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory; give the --save-dir of a training run")
    found: dict[int, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(directory.glob("checkpoint*.pt")):
        state = read_checkpoint(path)
        averaged = "averaged" in (state.get("extra_state") or {})
        if not averaged:  # an earlier result is not an input
            found.setdefault(number_of_updates(state), (path, state))
    if best is None:
        order = sorted(found, reverse=True)
    else:
        scores = {
            updates: float(extra["val_loss"])
            for updates, (_, state) in found.items()
            if (extra := state.get("extra_state") or {}).get("val_loss") is not None
        }
        order = sorted(scores, key=lambda updates: (_badness(scores[updates], found[updates][1]), -updates))
    if len(order) < count:
        kind = "different checkpoints" if best is None else "different checkpoints with a validation score"
        raise UserError(
            f"{directory} holds {len(order)} {kind}, {count} are asked for; "
            "ask for fewer, or train with --keep-last-epochs or --keep-best-checkpoints"
        )
    return [found[updates][0] for updates in order[:count]]


def _badness(score: float, state: dict[str, Any]) -> float:
    settings = settings_of(state, "checkpoint")
    return -score if settings.get("maximize_best_checkpoint_metric") else score


def _check_same_model(path: Path, model: dict[str, Tensor], first: Path, expected: dict[str, Tensor]) -> None:
    odd = sorted(set(model) ^ set(expected))
    if odd:
        raise UserError(
            f"{path} and {first} are of different models: only one of them has {', '.join(odd[:3])}; "
            "give checkpoints of one training"
        )
    for name, tensor in model.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{path} and {first} are of different models: {name} has shape {list(tensor.shape)} "
                f"and {list(expected[name].shape)}; give checkpoints of one training"
            )


def _check_same_fold(path: Path, fold: str | None, first: Path, expected: str | None) -> None:
    """Refuse a mean that would have seen what it says that it was kept from."""
    if fold != expected:
        mine, theirs = (f"without fold {name}" if name else "on every row" for name in (fold, expected))
        raise UserError(
            f"{path} was trained {mine}, {first} {theirs}, so that their mean has seen every row; average "
            "checkpoints of one training run"
        )


def _check_same_outputs(
    path: Path, state: Mapping[str, Any], first: Path, expected: Mapping[str, Any]
) -> None:
    """Refuse students whose logits, or ids, stand for other things."""
    for key, what in _OUTPUTS.items():
        mine, theirs = state.get(key), expected.get(key)
        if mine is not None and theirs is not None and mine != theirs:
            raise UserError(
                f"{path} and {first} have different {what} ({str(mine)[:200]} and {str(theirs)[:200]}); "
                "average checkpoints of one training run"
            )


def _check_finite(weights: Mapping[str, Tensor], paths: Sequence[Path]) -> None:
    """Refuse a mean with numbers that are not finite, which whoever loads it would refuse."""
    for name, weight in weights.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise UserError(
                f"{', '.join(map(str, paths))}: the mean of {name} has numbers that are not finite: the "
                "training diverged, or a file is damaged; take earlier checkpoints"
            )


def _mean_weights(models: Sequence[dict[str, Tensor]], newest: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of each weight; weights that share their memory in ``newest`` share it again."""
    means: dict[tuple[object, ...], Tensor] = {}
    result = {}
    for name, tensor in newest.items():
        if not tensor.is_floating_point():
            result[name] = tensor.clone()
            continue
        total = torch.zeros(tensor.shape, dtype=torch.float64)  # (the weight's shape)
        for model in models:
            total += model[name]
        mean = (total / len(models)).to(tensor.dtype)
        memory = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape)
        shared = means.setdefault(memory, mean)
        result[name] = shared if torch.equal(shared, mean) else mean
    return result
