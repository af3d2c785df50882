"""Records of what steps have done, as doit keeps its state, and the contents of files that they compare."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doit.dependency import Dependency, JSONCodec
from doit.task import Task

from cmlm_kd.errors import UserError
from cmlm_kd.system.files import file_sha256, written_aside
from cmlm_kd.system.manifests import check_document, read_object

FOLDER = ".steps"
"""Where they lie, in the run's folder."""
_VALUES = "_values_:"
"""What doit calls what a task has noted."""


@dataclass(frozen=True)
class Finished:
    """What a step notes when it has finished.

    Attributes:
        command: with absolute paths.
        versions: package -> its version.
        inputs: absolute path -> what was there.
        outputs: absolute path -> what it made there.
    """

    command: str
    versions: dict[str, str]
    inputs: dict[str, dict[str, tuple[int, int, str | None]]]
    outputs: dict[str, dict[str, tuple[int, int, str | None]]]


class _TaskFiles:
    """A backend of doit: a task's state is a file of its own, there or not there, never half written.

    doit's own backends write everything when a run ends, which a killed run never does.

    Args:
        name: the directory.
        codec: of doit.
    """

    def __init__(self, name: str, codec: JSONCodec, module_name: str | None = None) -> None:
        self.name = name
        self._codec = codec
        self._known: dict[str, dict[str, Any]] = {}

    def _file(self, task: str) -> Path:
        return Path(self.name) / f"{task}.json"

    def _read(self, task: str) -> dict[str, Any]:
        if task not in self._known:
            values = _values_in(self._file(task))
            self._known[task] = {} if values is None else {_VALUES: values}
        return self._known[task]

    def get(self, task: str, key: str) -> Any:
        return self._read(task).get(key)

    def set(self, task: str, key: str, value: Any) -> None:
        self._read(task)[key] = value

    def in_(self, task: str) -> bool:
        return bool(self._read(task))

    def remove(self, task: str) -> None:
        self._known[task] = {}
        self._file(task).unlink(missing_ok=True)

    def remove_all(self) -> None:
        shutil.rmtree(self.name, ignore_errors=True)

    def write(self, task: str) -> None:
        with written_aside(self._file(task)) as partial:
            partial.write_text(self._codec.encode(self._known[task]) + "\n", encoding="utf-8")

    def dump(self) -> None:
        """Nothing is left to write at the end."""


def _values_in(path: Path) -> dict[str, Any] | None:
    """Return what a step noted, all of the types that it should have; None where there is nothing like it."""
    try:
        values = read_object(path, "").get(_VALUES)
        if not isinstance(values, dict):
            return None
        check_document(path, values, Finished, "")
    except UserError:
        return None
    return values


class Records(Dependency):  # type: ignore[misc]  # doit has no types
    """doit's state of a run, on disk as soon as a step has finished.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        super().__init__(_TaskFiles, str(self._folder))

    def save_success(self, task: Task, result_hash: str | None = None) -> None:
        """Note that a step has finished; from here on a kill cannot take that back."""
        super().save_success(task, result_hash)
        self.backend.write(task.name)
        self._begun(task.name).unlink(missing_ok=True)

    def remove_success(self, task: Task) -> None:
        """Forget what a step has made, because it has failed; if it had not begun, all is as it was."""
        if self.begun(task.name) is not None:
            super().remove_success(task)

    def finished(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it finished; nothing if it has not, or the record is damaged."""
        found: dict[str, Any] = self.get_values(step)
        return found

    def damaged(self, step: str) -> Path | None:
        """Return the file of a step's record where it can no longer be read; None for all other steps."""
        file = self._folder / f"{step}.json"
        return file if os.path.lexists(file) and not self.finished(step) else None

    def places(self, *, begun: bool = False) -> list[str]:
        """Return the places of the steps that have finished in this folder, or begun and not finished."""
        suffix = ".begun" if begun else ".json"
        files = self._folder.rglob(f"*{suffix}")
        return sorted(file.relative_to(self._folder).as_posix().removesuffix(suffix) for file in files)

    def begin(self, step: str, state: dict[str, Any]) -> None:
        """Note what a step begins with, so that only the same goes on in what an interruption leaves."""
        with written_aside(self._begun(step)) as partial:
            partial.write_text(json.dumps(state) + "\n", encoding="utf-8")

    def begun(self, step: str) -> dict[str, Any] | None:
        """Return what a step that has not finished began with; None if there is no such step.

        Where that cannot be read it began with nothing, so that no step goes on from it.
        """
        file = self._begun(step)
        try:
            return read_object(file, "")
        except UserError:
            return {} if os.path.lexists(file) else None

    def _begun(self, step: str) -> Path:
        return self._folder / f"{step}.begun"


FileEntries = dict[str, list[Any]]
"""Name in a directory, or ``""`` for a file -> its size in bytes, its time in nanoseconds, its SHA-256."""


def checksums(files: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> SHA-256."""
    return {name: entry[2] for name, entry in files.items()}


class Contents:
    """What files hold; each is read once as long as its size and time stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str | None] = {}

    def remember(self, path: str, files: Mapping[str, Any]) -> None:
        """Take over checksums of files in ``path`` that an earlier run computed."""
        for name, (size, time, checksum) in files.items():
            self._known[os.path.join(path, name) if name else path, size, time] = checksum

    def of(self, path: str, leave_out: frozenset[str] = frozenset()) -> FileEntries:
        """Return the files in a directory, or the one at a path; none where nothing is there.

        Args:
            path: absolute.
            leave_out: absolute paths of files and directories that do not count.
        """
        return {name: self._entry(file) for name, file in _walk(path, leave_out)}

    def are(self, path: str, files: Mapping[str, Any], may_miss: tuple[str, ...] = ()) -> bool:
        """Return whether files are as they were; others may have come.

        Args:
            path: absolute path of the file, or of the directory.
            files: what was there.
            may_miss: absolute paths of files and directories that may have been removed.
        """
        self.remember(path, files)
        for name, entry in files.items():
            file = os.path.join(path, name) if name else path
            if not os.path.isfile(file):
                if not any(file == other or file.startswith(other + os.sep) for other in may_miss):
                    return False
            elif os.path.getsize(file) != entry[0] or self._entry(file)[2] != entry[2]:
                return False
        return True

    def _entry(self, file: str) -> list[Any]:
        found = os.stat(file)
        key = (file, found.st_size, found.st_mtime_ns)
        if key not in self._known:
            self._known[key] = file_sha256(Path(file))
        return [found.st_size, found.st_mtime_ns, self._known[key]]


def _walk(path: str, leave_out: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield name and absolute path of every file."""
    if os.path.isfile(path):
        yield "", path
        return
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if os.path.join(folder, name) not in leave_out)
        for name in sorted(names):
            file = os.path.join(folder, name)
            if file not in leave_out and os.path.isfile(file):
                yield os.path.relpath(file, path), file
