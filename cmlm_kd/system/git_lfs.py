"""Git LFS pointers: three lines of text in the place of a large file that was never fetched."""

from __future__ import annotations

from pathlib import Path

from cmlm_kd.errors import UserError

_BEGINNING = b"version https://git-lfs.github.com/spec/"
_LONGEST = 1024
"""Bytes of a pointer, says the format."""


def pointer_in(path: Path) -> Path | None:
    """Return the path if it is a pointer, or of a directory the first file that is one; None for neither."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((file for file in files if _is_pointer(file)), None)


def refuse_pointer(path: Path) -> None:
    """Refuse a pointer, or a directory with one, which readers would take for a damaged file.

    Raises:
        UserError: naming the file and what fetches it.
    """
    found = pointer_in(path)
    if found is not None:
        raise UserError(
            f"{found} is a Git LFS pointer, not the file itself: fetch it with 'git lfs pull' in its "
            "repository, or download it"
        )


def _is_pointer(file: Path) -> bool:
    try:
        if not file.is_file() or file.stat().st_size > _LONGEST:
            return False
        with file.open("rb") as stream:
            return stream.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False  # what opens it will say so
