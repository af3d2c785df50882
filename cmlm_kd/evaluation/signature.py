"""KD signatures of students that were trained from a store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmlm_kd.criteria.signature import HASH_DIGITS, UNKNOWN, criterion_part
from cmlm_kd.errors import UserError
from cmlm_kd.store.manifest import MANIFEST_NAME, Manifest
from cmlm_kd.version import __version__


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
    teacher = "+".join(dict.fromkeys(teacher[:HASH_DIGITS] for teacher in teachers)) or UNKNOWN
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
    part = criterion_part(settings.get("criterion") or {}) if paths else None
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


def _stores_of(task: Mapping[str, Any]) -> list[str]:
    """Return the paths in ``--soft-targets``: colons part epochs, commas part training sets."""
    value = str(task.get("soft_targets") or "")
    return [path for path in value.replace(",", ":").split(":") if path and path != "none"]
