"""Which kind a teacher is: what a path that ``--teacher`` names holds, and how to load it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cmlm_kd.api.next_tokens import NamedTeacher, NextTokenTeacher, TranslationData, next_token_teachers
from cmlm_kd.api.registry import Entry
from cmlm_kd.data.masking.positions import COVER_STRIDE
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.system.user_dir import PLUGIN_NAME
from cmlm_kd.teachers.cmlm import CMLMTeacher
from cmlm_kd.teachers.mean import MeanOfTeachers, check_weights

ENTRY_POINTS = "cmlm_kd.teachers"
"""Group of entry points: name of a kind of teacher -> the module of a package that registers it."""

PLUGIN = f"{PLUGIN_NAME}.translators.teacher_forcing"
"""Module of the kind that is fairseq's. It is named and not imported, so that the library does without."""


@cache
def load_kinds(*, with_fairseq: bool) -> None:
    """Register the kinds of installed packages; ours that need no fairseq are imported here anyway.

    Args:
        with_fairseq: fairseq's kind too, which takes seconds to import.

    Raises:
        UserError: fairseq is asked for and not installed.
    """
    next_token_teachers.load_entry_points(ENTRY_POINTS)
    if with_fairseq:
        try:
            importlib.import_module(PLUGIN)
        except ModuleNotFoundError as error:
            raise UserError(
                f"a translator's checkpoint needs fairseq ({error}); run: pip install --no-deps "
                "ve-fairseq==0.12.3"
            ) from error


def kind_of(text: str) -> tuple[Entry[NamedTeacher], Path]:
    """Return the kind of a teacher and its path.

    Args:
        text: ``PATH``, or ``KIND=PATH`` where what is there does not tell.

    Raises:
        UserError: nothing is there, or it is of no known kind.
    """
    load_kinds(with_fairseq=False)
    name, equals, path = text.partition("=")
    if equals and name.isidentifier() and not Path(text).exists():
        if name not in next_token_teachers and name not in next_token_teachers.broken:
            load_kinds(with_fairseq=True)
        return next_token_teachers.get(name), Path(path)
    place = Path(text)
    found = _recognised(place)
    if found is None and place.is_file():
        read_checkpoint(place)  # says so of a file that is none
        load_kinds(with_fairseq=True)
        found = _recognised(place)
    if found is None:
        load_kinds(with_fairseq=True)
        known = ", ".join(next_token_teachers)
        problem = "holds no teacher that is known" if place.exists() else "does not exist"
        raise UserError(
            f"teacher {text} {problem}; give a checkpoint that fairseq-train wrote, a model's directory, "
            f"or name its kind (KIND=PATH with one of {known})"
        )
    return found, place


def _recognised(path: Path) -> Entry[NamedTeacher] | None:
    entries = (next_token_teachers.get(name) for name in next_token_teachers)
    return next((entry for entry in entries if path.exists() and entry.cls.recognises(path)), None)


def load_teachers(
    texts: Sequence[str],
    data: TranslationData,
    device: str,
    *,
    weights: Sequence[float] | None = None,
    bf16_autocast: bool = False,
    stride: int = COVER_STRIDE,
) -> NextTokenTeacher:
    """Load one teacher, or several as the mean of their probabilities.

    Args:
        texts: :func:`kind_of` has what each may be.
        data: what they will be asked about.
        device: where they run, as torch names it.
        weights: of several, each above 0; None: equal ones.
        bf16_autocast: compute in bfloat16 where that is safe.
        stride: distance of the masked positions of a C-MLM's pass.

    Raises:
        UserError: one cannot be used, or the weights do not match.
    """
    checked = check_weights(weights, texts)
    members = []
    for text in texts:
        entry, path = kind_of(text)
        members.append(entry.cls.load(path, data, device, bf16_autocast=bf16_autocast))
        if isinstance(members[-1], CMLMTeacher):
            members[-1].stride = stride
    return members[0] if len(members) == 1 else MeanOfTeachers(members, checked)
