"""Reading parallel text, strictly: what is wrong is named with its file and line."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from cmlm_kd.errors import UserError


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, plain or gzipped, without their line ends.

    Only line feeds end a line (carriage returns before them are dropped), so a form feed or a Unicode line separator
    inside a sentence cannot shift the pairing of two files.

    Raises:
        UserError: if the file is missing or is not UTF-8.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the prefix of existing files")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    lines = raw.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [_decode(line.removesuffix(b"\r"), path, number) for number, line in enumerate(lines, 1)]


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; "
            "convert the file, for example with 'iconv -t utf-8'"
        ) from None


def find_side(prefix: str, language: str) -> Path:
    """Return ``PREFIX.LANG`` or ``PREFIX.LANG.gz``, whichever exists.

    Raises:
        UserError: if neither exists.
    """
    for suffix in ("", ".gz"):
        path = Path(f"{prefix}.{language}{suffix}")
        if path.is_file():
            return path
    raise UserError(f"neither {prefix}.{language} nor {prefix}.{language}.gz exists; give the prefix of existing files")


def read_pairs(prefix: str, languages: Sequence[str]) -> list[tuple[str, str]]:
    """Read ``PREFIX.SRC`` and ``PREFIX.TGT`` as pairs.

    Raises:
        UserError: if the line counts differ, there is no line, or a file is missing or is not UTF-8.
    """
    source, target = (find_side(prefix, language) for language in languages)
    source_lines, target_lines = read_lines(source), read_lines(target)
    if len(source_lines) != len(target_lines):
        raise UserError(
            f"{source} has {len(source_lines)} lines but {target} has {len(target_lines)}; "
            "parallel text needs one translation a line, so find where the two files part"
        )
    if not source_lines:
        raise UserError(f"{source} and {target} are empty; give text with at least one pair")
    return list(zip(source_lines, target_lines, strict=True))
