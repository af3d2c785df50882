"""KD signatures: one line that says what produced a number, in the manner of sacreBLEU's."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cmlm_kd.criteria
from cmlm_kd.errors import UserError
from cmlm_kd.registry import kd_criteria
from cmlm_kd.store.manifest import MANIFEST_NAME, Manifest
from cmlm_kd.version import __version__

TEACHERS = "teachers"
"""Key of a student's task state: the hash of each of its teachers, of several tasks by task."""

UNKNOWN = "unknown"
_DIGITS = 6


def kd_signature(
    criterion: str, teachers: Sequence[str], stores: Sequence[str], version: str = __version__
) -> str:
    """Return ``kd:soft_target|k:8|T:10|alpha:0.5|teacher:3fa9c1|store:77ab02|v:0.1.0``.

    Args:
        criterion: the criterion's part, up to its last setting.
        teachers: hash of each teacher, shortened here; equal ones count once.
        stores: signature of each store of soft targets, in the order of the training sets.
        version: of this toolkit.
    """
    teacher = "+".join(dict.fromkeys(teacher[:_DIGITS] for teacher in teachers)) or UNKNOWN
    store = "+".join(dict.fromkeys(stores)) or UNKNOWN
    return f"{criterion}|teacher:{teacher}|store:{store}|v:{version}"


def signature_of_checkpoint(settings: Mapping[str, Any], root: Path = Path()) -> str | None:
    """Return the KD signature of a student, from the settings in its checkpoint and the stores they name.

    Args:
        settings: the checkpoint's ``cfg``.
        root: what relative paths in the settings are relative to.

    Returns:
        The signature, with "unknown" for a store that is gone; None for a student that had no teacher.
    """
    paths = _stores_of(settings.get("task") or {})
    part = _criterion_part(settings.get("criterion") or {}) if paths else None
    if part is None:
        return None
    teachers, stores = [], []
    for path in paths:
        try:
            manifest = Manifest.read(root / path / MANIFEST_NAME)
        except (UserError, OSError):
            continue
        teachers.append(manifest.header.teacher_hash)
        stores.append(manifest.signature)
    return kd_signature(part, teachers, stores)


def signature_by_teachers(state: Mapping[str, Any], task: str | None = None) -> str | None:
    """Return the KD signature of a student whose teachers answered in training, without a store.

    Such as ``kd:pkd|...|teacher:3fa9c1|v:0.1.0``; of classifiers and of masked language models.

    Args:
        state: the checkpoint, as :func:`cmlm_kd.checkpoints.read_checkpoint` returns it.
        task: which task of a student of several; None where it has but one.

    Returns:
        The signature; None for a student that had no teacher, or none for this task.
    """
    settings = state.get("cfg") or {}
    teachers = (state.get("task_state") or {}).get(TEACHERS) or []
    if isinstance(teachers, Mapping):
        only = next(iter(teachers)) if len(teachers) == 1 else None
        teachers = teachers.get(task or only) or []
    part = _criterion_part(settings.get("criterion") or {})
    if part is None or not teachers:
        return None
    named = "+".join(teacher[:_DIGITS] for teacher in teachers)
    ensemble = f"|ensemble:{(settings.get('task') or {}).get('ensemble')}" if len(teachers) > 1 else ""
    return f"{part}|teacher:{named}{ensemble}|v:{__version__}"


def signature_of_self_distillation(state: Mapping[str, Any]) -> str | None:
    """Return the KD signature of a checkpoint whose teacher is a part of the student, such as
    ``kd:fastbert|mode:paper|direction:forward|teacher:self|v:0.1.0``; None for any other.

    Args:
        state: the checkpoint, as :func:`cmlm_kd.checkpoints.read_checkpoint` returns it.
    """
    part = _criterion_part((state.get("cfg") or {}).get("criterion") or {})
    if part is None or not part.startswith("kd:fastbert|"):
        return None
    return f"{part}|teacher:self|v:{__version__}"


def _criterion_part(criterion: Mapping[str, Any]) -> str | None:
    """Return what a criterion says of its settings; None for one that is not ours or learns from no
    teacher."""
    for module in pkgutil.iter_modules(cmlm_kd.criteria.__path__):
        importlib.import_module(f"{cmlm_kd.criteria.__name__}.{module.name}")  # registers what is looked up
    name = str(criterion.get("_name"))
    if name not in kd_criteria or not hasattr(kd_criteria.get(name).config, "signature"):
        return None
    config = kd_criteria.get(name).config
    known = {field.name for field in fields(config)}
    part: str = config(**{key: value for key, value in criterion.items() if key in known}).signature()
    return part


def _stores_of(task: Mapping[str, Any]) -> list[str]:
    """Return the paths in ``--soft-targets``: colons part epochs, commas part training sets."""
    value = str(task.get("soft_targets") or "")
    return [path for path in value.replace(",", ":").split(":") if path and path != "none"]
