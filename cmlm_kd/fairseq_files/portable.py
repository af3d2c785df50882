"""Checkpoints that a fairseq without this plug-in, or any other reader, can use."""

from argparse import Namespace
from typing import Any

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import ENTRIES, task_state
from cmlm_kd.fairseq_files.checkpoints import settings_of

STOCK_TASK = "translation"
STOCK_CRITERION = "label_smoothed_cross_entropy"
_TRANSLATION_TASKS = (STOCK_TASK, "translation_kd")
STOCK_TASK_FIELDS = frozenset(
    [
        "_name",
        "data",
        "source_lang",
        "target_lang",
        "load_alignments",
        "left_pad_source",
        "left_pad_target",
        "max_source_positions",
        "max_target_positions",
        "upsample_primary",
        "truncate_source",
        "num_batch_buckets",
        "train_subset",
        "dataset_impl",
        "required_seq_len_multiple",
        "eval_bleu",
        "eval_bleu_args",
        "eval_bleu_detok",
        "eval_bleu_detok_args",
        "eval_tokenized_bleu",
        "eval_bleu_remove_bpe",
        "eval_bleu_print_samples",
    ]
)
"""Settings of fairseq's own translation task."""
STOCK_CRITERION_FIELDS = frozenset(
    ["_name", "label_smoothing", "report_accuracy", "ignore_prefix_size", "sentence_avg"]
)
"""Settings of fairseq's own label-smoothed cross entropy."""


def make_portable(state: dict[str, Any]) -> dict[str, Any]:
    """Return a student's checkpoint as fairseq's own translation task would have written it.

    The weights stay. The task and the criterion become stock ones, settings of the plug-in disappear, and so
    does everything that only serves to resume training. The result holds tensors and plain values only, so
    torch's safe loading accepts it as it is.

    Raises:
        UserError: the checkpoint is not of a translation task, or is older than fairseq 0.11.
    """
    cfg = state.get("cfg")
    if not isinstance(cfg, dict) or not isinstance(cfg.get("task"), dict):
        raise UserError(
            "portable: the checkpoint has no settings ('cfg'); give one that fairseq 0.11 or later wrote"
        )
    task, criterion = cfg["task"], cfg.get("criterion") or {}
    if task.get("_name") not in _TRANSLATION_TASKS:
        raise UserError(
            f"portable: the checkpoint is of task {task.get('_name')!r}; only translation students "
            f"({', '.join(_TRANSLATION_TASKS)}) have a stock counterpart"
        )
    ours = (set(task) - STOCK_TASK_FIELDS) | (set(criterion) - STOCK_CRITERION_FIELDS)
    stock = {"task": STOCK_TASK, "criterion": STOCK_CRITERION, "user_dir": None}
    portable = {
        **cfg,
        "task": {**_only(task, STOCK_TASK_FIELDS), "_name": STOCK_TASK},
        "criterion": {**_only(criterion, STOCK_CRITERION_FIELDS), "_name": STOCK_CRITERION},
        "common": {**(cfg.get("common") or {}), "user_dir": None},
        "model": {
            **{key: value for key, value in settings_of(state, "model").items() if key not in ours},
            **stock,
        },
        "bpe": None,
    }
    history = [
        {
            **(state.get("optimizer_history") or [{}])[-1],
            "criterion_name": "LabelSmoothedCrossEntropyCriterion",
        }
    ]
    return {
        "args": None,
        "cfg": _plain(portable),
        "model": dict(state["model"]),
        "optimizer_history": _plain(history),
        # Strings, which a fairseq without the plug-in keeps and does not read.
        "task_state": _only(dict(task_state(state)), frozenset(ENTRIES)),
        "extra_state": _plain(
            _only(state.get("extra_state") or {}, frozenset({"val_loss", "best", "averaged"}))
        ),
    }


def _only(settings: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in names}


def _plain(value: Any) -> Any:
    """Return ``value`` made of dictionaries, lists and scalars only."""
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item"):  # a NumPy or torch scalar
        return value.item()
    raise UserError(
        f"portable: the checkpoint's settings hold a {type(value).__name__}, which has no plain form"
    )
