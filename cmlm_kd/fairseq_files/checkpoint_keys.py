"""The keys under which a fairseq checkpoint carries what its student or teacher is.

fairseq's tasks have a state, a dictionary that is saved with every checkpoint and handed back before the
model is built again (``task_state``). What is in it makes a checkpoint complete: nothing outside the file
says what a student's classes or its encoder's sizes are. Keys are part of the format on disk and never
change.

A model's weights stand under ``model``, each with a prefix for the attribute of fairseq's model that holds
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmlm_kd.errors import UserError

BERT_CONFIG = "bert_config"
"""A Hugging Face configuration as JSON: of ``bert_cmlm``, ``bert_classifier`` and masked language models."""

BILSTM = "bilstm_classifier"
"""Name of the architecture and key of its sizes and list of words."""

FASTBERT = "fastbert"
"""Name of the architecture and key of its encoder's configuration and branches, as JSON."""

MULTITASK = "multitask_bert"
"""Name of the architecture and key of its encoder's configuration and heads, as JSON."""

LABELS = "labels"
"""Names of the classes in the order of the logits; empty for scores."""

PAIRS = "pairs"
"""Whether examples are pairs of sentences; older checkpoints have none."""

INPUTS_HASH = "inputs"
"""Hash of what turned sentences into ids (``SentenceInputs.hash``); older checkpoints have none."""

HEADS = "heads"
"""The tasks of a student of several, each as :class:`cmlm_kd.models.multitask.TaskHead` describes it."""

TEACHERS = "teachers"
"""The hash of each of a student's teachers, of several tasks by task; none without a teacher."""

OPTIMIZED = "optimized"
"""Name and shape of each weight that the optimizer has, in its order; older checkpoints have none."""

PATIENCE = "patience"
"""The best value of the validations so far, and how many running have not reached it; older checkpoints have
none."""

DICTIONARY_HASH = "dictionary_hash"
""":func:`cmlm_kd.fairseq_files.databin.dictionary_hash` of the target dictionary: a C-MLM teacher's output
vocabulary, a translator's target entries."""

SOURCE_DICTIONARY_HASH = "source_dictionary_hash"
"""The same of a translator's source dictionary; older checkpoints have none."""

FOLD = "fold"
"""Which part of the training set a teacher was kept from, such as ``0/5``; there where it was."""

TOKENIZER_HASH = "tokenizer_hash"
"""Of the tokenizer that a C-MLM teacher's data-bin was prepared with; older checkpoints have none."""

VOCABULARY_HASH = "vocabulary_hash"
""":func:`cmlm_kd.tokenization.loading.vocabulary_hash` of a masked language model's tokenizer; older
checkpoints have none."""

ENTRIES = {
    DICTIONARY_HASH: "target dictionary",
    SOURCE_DICTIONARY_HASH: "source dictionary",
    TOKENIZER_HASH: "tokenizer",
    VOCABULARY_HASH: "vocabulary",
}
"""Key -> what it is the hash of: that which says what a model's ids stand for."""

CMLM_PREFIX = "teacher."
"""Of the weights' names, of a C-MLM teacher (``bert_cmlm``)."""

CLASSIFIER_PREFIX = "classifier."
"""Of the weights' names, of students over sentences."""

MASKED_LM_PREFIX = "masked_lm."
"""Of the weights' names, of masked language models."""


def task_state(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of a checkpoint's task; empty for one of a task that has none.

    Args:
        checkpoint: as :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns it.
    """
    return checkpoint.get("task_state") or {}


def weights_of(checkpoint: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the weights whose names begin with a prefix, without it.

    Args:
        checkpoint: as :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns it.
        prefix: one of those of this module.
    """
    named = checkpoint["model"].items()
    return {name.removeprefix(prefix): tensor for name, tensor in named if name.startswith(prefix)}


def check_same_entries(
    subject: str, found: Mapping[str, Any], where: str, wanted: Mapping[str, Any], remedy: str
) -> None:
    """Refuse a checkpoint whose ids stand for other words or tokens than they do here.

    As many entries are no sign of the same entries: dictionaries are filled up to a multiple of 8. What
    either side does not know, such as a checkpoint of an earlier release, is not compared.

    Args:
        subject: the checkpoint, for the message.
        found: its task state.
        where: what it is to be used with.
        wanted: hashes there, under the keys :data:`ENTRIES`.
        remedy: what the message says to do.

    Raises:
        UserError: naming both hashes.
    """
    for key, what in ENTRIES.items():
        mine, theirs = found.get(key), wanted.get(key)
        if mine is not None and theirs is not None and mine != theirs:
            raise UserError(
                f"{subject} was trained with {what} {str(mine)[:12]}, {where} has {str(theirs)[:12]}: its "
                f"ids stand for other entries; {remedy}"
            )
