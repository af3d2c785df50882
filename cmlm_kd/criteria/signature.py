"""KD signatures: one line that says what produced a number, in the manner of sacreBLEU's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.criteria import load_criteria
from cmlm_kd.fairseq_files.checkpoint_keys import TEACHERS, task_state
from cmlm_kd.fairseq_files.checkpoints import settings_of
from cmlm_kd.version import __version__

UNKNOWN = "unknown"
HASH_DIGITS = 6


def signature_by_teachers(state: Mapping[str, Any], task: str | None = None, data: str = "") -> str | None:
    """Return the KD signature of a student whose teachers answered in training, without a store.

    Such as ``kd:pkd|...|teacher:3fa9c1|v:0.1.0``.

    Args:
        state: the checkpoint, as :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns it.
        task: which task of a student of several; None where it has but one.
        data: what there is to say of the data, such as ``synthetic:train1.de=3fa9c1``; perhaps nothing.

    Returns:
        The signature; None for a student that had no teacher, or none for this task.
    """
    settings = state.get("cfg") or {}
    teachers = task_state(state).get(TEACHERS) or []
    if isinstance(teachers, Mapping):
        only = next(iter(teachers)) if len(teachers) == 1 else None
        teachers = teachers.get(task or only) or []
    part = criterion_part(settings.get("criterion") or {})
    if part is None or not teachers:
        return None
    named = "+".join(teacher[:HASH_DIGITS] for teacher in teachers)
    ensemble = f"|ensemble:{(settings.get('task') or {}).get('ensemble')}" if len(teachers) > 1 else ""
    return f"{part}|{f'{data}|' if data else ''}teacher:{named}{ensemble}|v:{__version__}"


def signature_of_self_distillation(state: Mapping[str, Any]) -> str | None:
    """Return the KD signature of a checkpoint whose teacher is a part of the student, such as
    ``kd:fastbert|mode:paper|direction:forward|teacher:self|v:0.1.0``; None for any other.

    Args:
        state: the checkpoint, as :func:`cmlm_kd.fairseq_files.checkpoints.read_checkpoint` returns it.
    """
    part = criterion_part(settings_of(state, "criterion"))
    if part is None or not part.startswith("kd:fastbert|"):
        return None
    return f"{part}|teacher:self|v:{__version__}"


def criterion_part(criterion: Mapping[str, Any]) -> str | None:
    """Return what a criterion says of its settings; None for one that is not ours or learns from no
    teacher."""
    load_criteria()
    name = str(criterion.get("_name"))
    if name not in kd_criteria or not hasattr(kd_criteria.get(name).config, "signature"):
        return None
    config = kd_criteria.get(name).config
    known = {field.name for field in fields(config)}
    part: str = config(**{key: value for key, value in criterion.items() if key in known}).signature()
    return part
