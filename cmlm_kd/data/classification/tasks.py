"""Several tasks: flags such as ``SST-2,RTE`` and ``SST-2=value,RTE=value``, and what each has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.data.classification.corpora import CORPORA, HUGGINGFACE, TEXT, ReadingOptions
from cmlm_kd.errors import UserError
from cmlm_kd.system.text import comma_separated

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def task_names(text: str, flag: str) -> tuple[str, ...]:
    """Return the names in a comma-separated flag, each once.

    Raises:
        UserError: if there is none, one comes twice, or one has a character that does not belong in the name
            of a metric.
    """
    names = comma_separated(text)
    if not names:
        raise UserError(f"{flag} names no task; give some, separated by commas, such as SST-2,RTE")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{flag} names {name} twice; give each task once")
        if not _NAME.fullmatch(name):
            raise UserError(f"{flag}: {name!r} is no name; use letters, digits, - and _")
    return names


def values_of_tasks(text: str, flag: str, tasks: Sequence[str]) -> dict[str, str]:
    """Return task -> value of a flag such as ``SST-2=value,RTE=value``; the value of a bare name is empty.

    Args:
        text: what follows the flag.
        flag: its name, for messages.
        tasks: those that there are.

    Raises:
        UserError: if a task is unknown, with the closest ones, or comes twice.
    """
    found: dict[str, str] = {}
    for part in comma_separated(text):
        name, _, value = part.partition("=")
        if name not in tasks:
            raise UserError(
                f"{flag} names {name!r}, which is not trained here: the tasks are {', '.join(tasks)}"
                f"{closest(name, tasks)}"
            )
        if name in found:
            raise UserError(f"{flag} names {name} twice; give each task once")
        found[name] = value
    return found


def some_tasks(text: str, flag: str, tasks: Sequence[str]) -> frozenset[str]:
    """Return the tasks in a flag such as ``SST-2,RTE``.

    Raises:
        UserError: if a task is unknown, comes twice, or has a value.
    """
    found = values_of_tasks(text, flag, tasks)
    for name, value in found.items():
        if value:
            raise UserError(f"{flag} takes names alone, got {name}={value}")
    return frozenset(found)


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` where a known name is close, else nothing."""
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(lowered[match] for match in close)}?" if close else ""


@dataclass(frozen=True)
class TaskFlags:
    """The flags of ``--task multitask_kd`` that are about single tasks, as typed.

    Attributes:
        corpora: the tasks' names.
        corpus_format: how corpora are written that are not published ones of that name.
        corpus_folder: folders below the data, where they have not the task's name.
        ranking: tasks that rank candidates, and the class of right ones.
        regression: tasks with scores, for plain text and datasets.
        labels: classes in the order of the logits, by colons.
        text_columns: columns of a dataset's sentences, by colons.
        train_file: files of training sets.
        valid_file: files of dev sets.
        teacher: directories of teachers, by colons.
        teacher_labels: classes of the teachers' logits, by colons.
    """

    corpora: str
    corpus_format: str = ""
    corpus_folder: str = ""
    ranking: str = ""
    regression: str = ""
    labels: str = ""
    text_columns: str = ""
    train_file: str = ""
    valid_file: str = ""
    teacher: str = ""
    teacher_labels: str = ""


@dataclass(frozen=True)
class TaskSettings:
    """What is known of a task before its data are read.

    Attributes:
        name: of the task.
        folder: of its corpus.
        reading: how the corpus is read.
        ranks: None, or what the user calls the class of right candidates, empty for the usual one.
        train_file: of the training set, empty for the published one.
        valid_file: of the dev set, likewise.
        teachers: their directories.
        teacher_labels: classes of their logits, empty for their own names.
    """

    name: str
    folder: Path
    reading: ReadingOptions
    ranks: str | None
    train_file: str
    valid_file: str
    teachers: tuple[str, ...]
    teacher_labels: tuple[str, ...]


def task_settings(data: Path, flags: TaskFlags, *, skip_malformed: bool = False) -> list[TaskSettings]:
    """Return the settings of each task, in the order of ``--corpora``.

    Args:
        data: folder of the corpora's folders.
        flags: what the user said.
        skip_malformed: whether lines with a wrong number of columns are left out.

    Raises:
        UserError: naming flag, task, and what is allowed.
    """
    names = task_names(flags.corpora, "--corpora")
    said = {
        name: values_of_tasks(value, _flag(name), names)
        for name, value in vars(flags).items()
        if name not in ("corpora", "regression")
    }
    for name, values in said.items():
        empty = [task for task, value in values.items() if not value and name != "ranking"]
        if empty:
            raise UserError(f"{_flag(name)} has no value for {empty[0]}; write {empty[0]}=VALUE")
    scores = some_tasks(flags.regression, "--regression", names)
    forms = {name: _format(name, said["corpus_format"].get(name)) for name in names}
    return [
        TaskSettings(
            name,
            data / said["corpus_folder"].get(name, name),
            ReadingOptions(
                forms[name],
                labels=_split(said["labels"].get(name, "")),
                regression=name in scores,
                text_columns=_split(said["text_columns"].get(name, "")),
                skip_malformed=skip_malformed,
            ),
            said["ranking"].get(name),
            said["train_file"].get(name, ""),
            said["valid_file"].get(name, ""),
            _split(said["teacher"].get(name, "")),
            _split(said["teacher_labels"].get(name, "")),
        )
        for name in names
    ]


def right_class(task: str, chosen: str, labels: Sequence[str]) -> str:
    """Return the class of a ranking task's right candidates.

    Args:
        task: its name.
        chosen: what the user said, empty for ``entailment``.
        labels: classes of the corpus.

    Raises:
        UserError: if the corpus has no such class.
    """
    wanted = chosen or "entailment"
    if wanted not in labels:
        kinds = ", ".join(map(repr, labels)) or "scores"
        raise UserError(
            f"--ranking {task}={wanted}: {task} has no class {wanted!r} (it has {kinds}); say which class "
            f"right candidates have: --ranking {task}=CLASS"
        )
    return wanted


def main_metric(form: str, labels: Sequence[str], is_ranking: bool) -> str:
    """Return what a task is best known by: GLUE's first metric, accuracy, correlation or top-1 accuracy.

    Args:
        form: how the corpus is written.
        labels: its classes; empty for scores.
        is_ranking: whether the task ranks candidates.
    """
    if is_ranking:
        return "top1"
    if form in CORPORA:
        return CORPORA[form].metrics[0]
    return "accuracy" if labels else "pearson"


def _format(name: str, said: str | None) -> str:
    known = (*CORPORA, TEXT, HUGGINGFACE)
    if (said or name) in known:
        return said or name
    if said:
        raise UserError(f"--corpus-format {name}={said}: known are {', '.join(known)}{closest(said, known)}")
    raise UserError(
        f"--corpora names {name}, which is no published corpus{closest(name, CORPORA)}; known are "
        f"{', '.join(CORPORA)}; for others say how they are written: --corpus-format {name}=text"
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(":") if part)
