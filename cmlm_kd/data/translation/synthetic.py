"""Text that a machine wrote, known as such by the manifest beside it: what ``cmlm-kd translate`` leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.system.text import find_side

FORMAT = "cmlm-kd translation"


@dataclass(frozen=True)
class SyntheticText:
    """The side of a training set that a machine wrote.

    Attributes:
        language: the side.
        model: what wrote it, in a few words.
        model_hash: of that model.
        pick: how its hypotheses were chosen.
    """

    language: str
    model: str
    model_hash: str
    pick: str


def manifest_path(output: Path) -> Path:
    """Return where the manifest of a translation is."""
    return output.with_name(f"{output.name}.json")


def read_translation_manifest(output: Path) -> dict[str, Any] | None:
    """Return the manifest of a translation; None for a file that has none, or has another program's."""
    try:
        manifest = json.loads(manifest_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    return manifest if is_ours else None


def synthetic_side(prefix: str, languages: Sequence[str]) -> SyntheticText | None:
    """Return which side of parallel text a machine wrote; None where neither has a manifest.

    Args:
        prefix: of the two files.
        languages: their suffixes.

    Raises:
        UserError: a file is missing.
    """
    for language in languages:
        path = find_side(prefix, language)
        manifest = read_translation_manifest(path.with_suffix("") if path.suffix == ".gz" else path)
        if manifest is not None:
            said = (str(manifest.get(name, "unknown")) for name in ("model", "model_hash", "pick"))
            return SyntheticText(language, *said)
    return None
