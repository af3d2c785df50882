"""Which kind a teacher is: what a path that ``--teacher`` names holds, and how to load it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cmlm_kd.api.next_tokens import (
    NamedTeacher,
    NextTokenTeacher,
    TeacherOptions,
    TranslationData,
    next_token_teachers,
)
from cmlm_kd.api.registry import Entry
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.system.root_logger import root_logger_kept
from cmlm_kd.system.user_dir import PLUGIN_NAME
from cmlm_kd.teachers.mean import MeanOfTeachers, check_weights

ENTRY_POINTS = "cmlm_kd.teachers"
"""Group of entry points: name of a kind of teacher -> the module of a package that registers it."""

OURS = ("cmlm_kd.teachers.cmlm", "cmlm_kd.teachers.hugging_face")
"""Modules of our kinds that need no fairseq."""

PLUGIN = tuple(f"{PLUGIN_NAME}.translators.{name}" for name in ("teacher_forcing", "nearest_neighbours"))
"""Modules of the kinds that are fairseq's. They are named and not imported, so that the library does
without."""


_ENGINES = {"model.bin": "CTranslate2", "decoder.onnx": "ONNX"}
"""A file that tells it -> an engine that decodes and gives no distributions under teacher forcing."""


@cache
def load_kinds(*, with_fairseq: bool) -> None:
    """Register our kinds and those of installed packages.

    Args:
        with_fairseq: fairseq's kind too, which takes seconds to import.

    Raises:
        UserError: fairseq is asked for and not installed.
    """
    for module in OURS:
        importlib.import_module(module)
    next_token_teachers.load_entry_points(ENTRY_POINTS)
    if with_fairseq:
        try:
            with root_logger_kept():  # fairseq's tasks make it print whatever any library has to say
                for module in PLUGIN:
                    importlib.import_module(module)
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
        try:
            return next_token_teachers.get(name), Path(path)
        except UserError as error:
            raise UserError(f"teacher {text}: {error}") from None
    place = Path(text)
    found = _recognised(place)
    if found is None and place.is_file():
        read_checkpoint(place)  # says so of a file that is none
        load_kinds(with_fairseq=True)
        found = _recognised(place)
    if found is None:
        _refuse_translators(place)
        load_kinds(with_fairseq=True)
        known = ", ".join(next_token_teachers)
        problem = "holds no teacher that is known" if place.exists() else "does not exist"
        raise UserError(
            f"teacher {text} {problem}; give a checkpoint that fairseq-train wrote, a model's directory, "
            f"or name its kind (KIND=PATH with one of {known})"
        )
    return found, place


def _refuse_translators(place: Path) -> None:
    """Say of what 'cmlm-kd translate' takes for a model, and a dump does not, what to give instead.

    Raises:
        UserError: the place is of that sort.
    """
    engine = next((name for file, name in _ENGINES.items() if (place / file).is_file()), None)
    if engine is not None:
        raise UserError(
            f"teacher {place} is a model of {engine}, which translates and says nothing of a given target; "
            "give the checkpoint or the Hugging Face directory that it was made of"
        )
    parts = str(place).split(":")
    if len(parts) > 1 and all(Path(part).exists() for part in parts):
        raise UserError(
            f"teacher {place} names {len(parts)} models; the mean of several is 'cmlm-kd dump --teacher A "
            "B', or --online-teacher A,B"
        )


def _recognised(path: Path) -> Entry[NamedTeacher] | None:
    entries = (next_token_teachers.get(name) for name in next_token_teachers)
    return next((entry for entry in entries if path.exists() and entry.cls.recognises(path)), None)


def check_settings(
    classes: Sequence[type[NamedTeacher]], texts: Sequence[str], options: TeacherOptions
) -> None:
    """Refuse languages, prompts and examples that none of the teachers knows what to do with.

    Args:
        classes: the teachers' kinds.
        texts: the teachers, for the message.
        options: how they are going to be loaded.

    Raises:
        UserError: naming the flag.
    """
    known = frozenset[str]().union(*(each.settings for each in classes))
    for name in ("source_language", "target_language", "prompt", "examples"):
        if getattr(options, name) is not None and name not in known:
            raise UserError(f"--{name.replace('_', '-')} means nothing to {', '.join(texts)}; leave it out")


def load_teachers(
    texts: Sequence[str],
    data: TranslationData,
    options: TeacherOptions,
    weights: Sequence[float] | None = None,
) -> NextTokenTeacher:
    """Load one teacher, or several as the mean of their probabilities.

    Args:
        texts: :func:`kind_of` has what each may be.
        data: what they will be asked about.
        options: how they are loaded.
        weights: of several, each above 0; None: equal ones.

    Raises:
        UserError: one cannot be used, the weights do not match, or a setting means nothing to any.
    """
    checked = check_weights(weights, texts)
    kinds = [kind_of(text) for text in texts]  # what is there is looked at before anything is loaded
    check_settings([entry.cls for entry, _ in kinds], texts, options)
    members = [entry.cls.load(path, data, options) for entry, path in kinds]
    return members[0] if len(members) == 1 else MeanOfTeachers(members, checked)
