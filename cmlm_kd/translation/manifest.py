"""The manifest beside a translation, by which what is synthetic is known as such: ``OUTPUT.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FORMAT = "cmlm-kd translation"


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an output is."""
    return output.with_name(f"{output.name}.json")


def read_manifest(output: Path) -> dict[str, Any] | None:
    """Return the manifest of a translation; None for a file that has none, or has another program's."""
    try:
        manifest = json.loads(manifest_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    return manifest if is_ours else None
