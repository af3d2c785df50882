"""What a user says of several tasks at once, as flags of ``NAME=VALUE``, and what that means for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.data.classification.corpora import CORPORA, HUGGINGFACE, TEXT
from cmlm_kd.data.classification.options import ReadingOptions
from cmlm_kd.data.classification.task_values import closest, some_tasks, task_names, values_of_tasks
from cmlm_kd.errors import UserError


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
