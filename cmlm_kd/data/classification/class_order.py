"""The order of a teacher's classes in that of the data: by name, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from cmlm_kd.errors import UserError

logger = logging.getLogger(__name__)

GENERIC = "LABEL_"
"""How Hugging Face names the classes of a model without names of its own: ``LABEL_0``, ``LABEL_1``, ..."""


def class_order(
    teacher: Sequence[str],
    data: Sequence[str],
    *,
    name: str,
    values: Mapping[str, str] | None = None,
    given: Sequence[str] = (),
    several: bool = False,
) -> list[int]:
    """Return for each class of the data the position of the teacher's logit.

    Names are compared as they are, and where that leaves some unmatched, without regard to case, unless
    classes of one side differ in case alone. ``LABEL_1`` is the class that the corpus's files call ``1``.

    Args:
        teacher: the teacher's classes in the order of its logits; empty for a score.
        data: the data's classes; empty for scores.
        name: the teacher, for messages.
        values: what the corpus's files say -> the class's name.
        given: names of the teacher's classes in the order of its logits (``--teacher-labels``), which replace
            its own.
        several: whether they are given for several teachers, of which those that name the data's classes
            themselves keep their names.

    Raises:
        UserError: if the numbers differ, or a class has no counterpart, naming both sides.
    """
    if len(teacher) != len(data):
        raise UserError(
            f"{name} predicts {_counted(teacher)}, the data have {_counted(data)}; give a teacher that was "
            "fine-tuned on these classes"
        )
    if not data:
        return [0]
    if given and len(given) != len(teacher):
        raise UserError(
            f"--teacher-labels names {len(given)} classes ({', '.join(given)}), {name} has {len(teacher)}"
        )
    fold: Callable[[str], str] = str.lower if _unique_without_case(teacher, data, given) else str
    spelled = {fold(value): fold(label) for value, label in (values or {}).items()}
    wanted = [fold(label) for label in data]
    names, given_names = ([_plain(label, spelled, fold) for label in labels] for labels in (teacher, given))
    keeps_own = several and not _is_generic(teacher, spelled) and sorted(names) == sorted(wanted)
    if given_names and not keeps_own:
        names = given_names
    elif given_names and given_names != names:
        logger.warning(
            "%s names its classes itself, %s: the names %s that were given are not used for it",
            *(name, _listed(teacher), _listed(given)),
        )
    if sorted(names) != sorted(wanted):
        raise UserError(
            f"{name} has the classes {_listed(teacher)}, the data {_listed(data)}: they cannot be matched by "
            "name; say what the teacher's mean, in the order of its logits, with --teacher-labels "
            f"{','.join(data)} (or another order)"
        )
    return [names.index(label) for label in wanted]


def _unique_without_case(*sides: Sequence[str]) -> bool:
    """Return whether no side has two classes whose names differ in case alone, such as MW and mW."""
    return all(len({label.lower() for label in side}) == len(set(side)) for side in sides)


def _plain(label: str, spelled: Mapping[str, str], fold: Callable[[str], str]) -> str:
    name = fold(label)
    return spelled.get(name.removeprefix(fold(GENERIC)), name)


def _is_generic(labels: Sequence[str], spelled: Mapping[str, str]) -> bool:
    """Return whether classes are mere numbers, or named as the corpus's files do."""
    return all(label.lower().startswith(GENERIC.lower()) or label.lower() in spelled for label in labels)


def _counted(labels: Sequence[str]) -> str:
    return f"{len(labels)} classes ({_listed(labels)})" if labels else "a score"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels))
