"""Sources of unlabelled text: plain files, gzipped files, data sets that Hugging Face's library saved.

Everything is read as a stream, a line or a row at a time, whatever its size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.text import comma_separated, iterate_parts

MOST_BYTES = 1 << 20
"""Of a line that is read at once; a longer one comes in parts."""

USUAL_NAMES = {"train": "train.txt", "valid": "valid.txt"}
"""What a folder of text calls its splits."""

SAVED_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev")}
_STATE, _SPLITS, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"


@dataclass(frozen=True)
class TextFile:
    """one file of unlabelled text.

    Attributes:
        path: of a text file, plain or gzipped, or of an Arrow file of a saved data set.
        column: of the Arrow file's text; empty for text files.
    """

    path: Path
    column: str = ""

    def lines(self) -> Iterator[str]:
        """Yield what :meth:`parts` yields, without numbers."""
        for _, text in self.parts():
            yield text

    def parts(self) -> Iterator[tuple[int, str]]:
        """Yield the number of each line of a text file, or row of a saved data set, and its text.

        Empty ones come too; a line of more than :data:`MOST_BYTES` comes in parts, each with its number.

        Raises:
            UserError: if the file cannot be read, is not UTF-8 or is no text.
        """
        if self.column:
            yield from enumerate(_rows(self.path, self.column), 1)
            return
        for number, part in iterate_parts(self.path, MOST_BYTES):
            if "\0" in part:
                raise UserError(
                    f"{self.path}, line {number}: has a NUL byte, which no text has; is it a binary file? "
                    "give text files, plain or gzipped"
                )
            yield number, part


def find_text(folder: Path, names: str, split: str, column: str = "") -> list[TextFile]:
    """Return the files of a split.

    Args:
        folder: a data set that ``save_to_disk`` wrote, or a folder of text.
        names: what to take, separated by commas: files of the folder (without their ``.gz`` too) or of
            anywhere, patterns such as ``wiki-*.txt``, or saved data sets. The usual name, or none, is a saved
            data set's own split, or for training the whole of one without splits.
        split: ``train`` or ``valid``.
        column: of saved data sets; empty: the only column of strings, or ``text``.

    Raises:
        UserError: naming what does not exist.
    """
    if is_saved(folder) and names in ("", USUAL_NAMES[split]):
        if split != "train" and not (folder / _SPLITS).is_file():
            raise UserError(
                f"{folder} holds one data set without splits, all of which is trained on; name a text to "
                f"validate on with --{split}-text, or save a DatasetDict with a split 'validation'"
            )
        return saved_files(folder, split, column)
    found: list[TextFile] = []
    for name in comma_separated(names):
        for path in _matching(folder, name):
            found += saved_files(path, split, column) if is_saved(path) else [TextFile(path)]
    if not found:
        raise UserError(f"no text is named for {split}; give files of {folder} with --{split}-text")
    return found


def is_saved(path: Path) -> bool:
    """Return whether a path is a directory that ``save_to_disk`` wrote."""
    return (path / _STATE).is_file() or (path / _SPLITS).is_file()


def _matching(folder: Path, name: str) -> list[Path]:
    if any(sign in name for sign in "*?["):
        matching = sorted(folder.glob(name))
        if not matching:
            raise UserError(f"no file of {folder} is like {name!r}; give names or patterns of existing files")
        return matching
    path = folder / name
    gzipped = path.with_name(path.name + ".gz")
    return [gzipped if gzipped.is_file() and not path.exists() else path]


def saved_files(path: Path, split: str, column: str) -> list[TextFile]:
    """Return the files of a saved data set's split, or all of one without; see :func:`find_text`."""
    if (path / _SPLITS).is_file():
        existing = [name for name in SAVED_SPLITS[split] if (path / name).is_dir()]
        if not existing:
            names = sorted(part.name for part in path.iterdir() if part.is_dir())
            raise UserError(
                f"{path} has no split {' or '.join(map(repr, SAVED_SPLITS[split]))} for {split}; it has "
                f"{', '.join(map(repr, names))}: save one under that name, or name a text with --{split}-text"
            )
        path = path / existing[0]
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        features = json.loads((path / _INFO).read_text(encoding="utf-8"))["features"]
        files = [path / entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no data set saved on disk ({first_line(error)}); write it again with save_to_disk"
        ) from error
    strings = [name for name, kind in features.items() if kind.get("dtype") in ("string", "large_string")]
    chosen = column or (strings[0] if len(strings) == 1 else "text")
    if chosen not in strings:
        raise UserError(
            f"{path}: there is no column of text {chosen!r}; columns of strings are "
            f"{', '.join(map(repr, strings)) or 'none'}: name one with --text-column"
        )
    return [TextFile(file, chosen) for file in files]


def _rows(path: Path, column: str) -> Iterator[str]:
    """Yield the rows of an Arrow file, read batch by batch: a memory map would stay in memory whole."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                for value in batch.column(column):
                    yield value.as_py() or ""
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} cannot be read ({first_line(error)}); save the data set again with save_to_disk"
        ) from error
