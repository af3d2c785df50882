"""The shards of an unfinished translation: a folder beside the output, which an interrupted job goes on from.

Each shard is a file of one JSON line for each source: a list of ``[score, finished, text]``, best first. Its
last line is a checksum of these, of its number and of the job: file and checksum appear in one moment,
whoever else writes there. Shards of earlier releases have no such line; of them only lines and types are
compared. ``job.json`` says what all of them are of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.aside import hold_directory, holding, parents_made
from cmlm_kd.system.files import check_new_directory, written_aside
from cmlm_kd.system.manifests import read_object

logger = logging.getLogger(__name__)

JOB = "job.json"
OUTPUTS = "outputs.json"


class Parts:
    """The folder of the shards of one job.

    Args:
        folder: where it is, or shall be.
        identity: all that the shards depend on, ``lines``, ``shard_rows`` and ``shards`` among it.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = json.loads(json.dumps(identity))
        self.count = int(identity["shards"])
        self.lines, self.shard_rows = int(identity["lines"]), int(identity["shard_rows"])

    @contextlib.contextmanager
    def alone(self, output: Path) -> Iterator[None]:
        """Keep other processes from writing the same output, of which one would delete the other's shards.

        Raises:
            UserError: another process is writing it.
        """
        folder = Path(os.path.realpath(self.folder))

        def discard(descriptor: int) -> None:
            with contextlib.suppress(OSError):  # there are shards to go on from
                folder.rmdir()

        with parents_made(folder), holding(lambda: hold_directory(folder, output, keep=True), discard):
            yield

    def open(self) -> None:
        """Make the folder, or see to it that the one that is there is of the same job.

        Raises:
            UserError: it is of another job, or is something else.
        """
        if (self.folder / JOB).is_file():
            self.check(self.folder)
            return
        check_new_directory(
            self.folder,
            "holds {entry}, and no unfinished translation",
            "move it away, or give another --output",
            # Another process of the same job may be quicker.
            in_the_way=lambda entry: entry.name != JOB and entry.suffix not in (".partial", ".jsonl"),
        )
        with written_aside(self.folder / JOB) as partial:
            partial.write_text(
                json.dumps(self.identity, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )

    def check(self, folder: Path) -> None:
        """Refuse shards of another job.

        Raises:
            UserError: naming the first setting that differs, with both values.
        """
        try:
            found = read_object(folder / JOB, "")
        except UserError:
            raise UserError(
                f"{folder} has no readable {JOB}; give the folder of an unfinished translation, OUTPUT.parts"
            ) from None
        ours, theirs = _one_by_one(self.identity), _one_by_one(found)
        for name in [*ours, *theirs]:
            here, there = ours.get(name), theirs.get(name)
            if here != there:
                raise UserError(
                    f"{folder} holds shards with {name} {there}, this translation has {here}; give the flags "
                    "of then, or another --output, or delete the folder"
                )

    def path(self, index: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{index:06d}.jsonl"

    def pending(self, wanted: Iterable[int] | None = None) -> list[int]:
        """Return the shards that are not there yet, or are damaged.

        Args:
            wanted: which to look at; None for all.
        """
        return [
            index for index in (range(self.count) if wanted is None else wanted) if not self._is_whole(index)
        ]

    def _is_whole(self, index: int) -> bool:
        path = self.path(index)
        if not path.is_file():
            return False
        try:
            self._rows(path, index)
        except _DAMAGES as error:
            logger.warning("%s is damaged (%s) and does not count", path, first_line(error))
            return False
        return True

    def write(self, index: int, rows: Iterable[Sequence[Hypothesis]]) -> None:
        """Write a shard; when its file is there it is complete."""
        entries = [[[entry.score, int(entry.finished), entry.text] for entry in row] for row in rows]
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in entries]
        with written_aside(self.path(index)) as partial:
            partial.write_bytes(b"".join(line + b"\n" for line in [*lines, self._checksum(index, lines)]))

    def read(self) -> Iterator[list[Hypothesis]]:
        """Yield the hypotheses of each source, in the order of the input.

        Raises:
            UserError: a shard is missing or damaged.
        """
        for index in range(self.count):
            yield from self._read(
                self.path(index), index, "run the same command again, which translates it again"
            )

    def _read(self, path: Path, index: int, remedy: str) -> list[list[Hypothesis]]:
        try:
            return self._rows(path, index)
        except _DAMAGES as error:
            raise UserError(f"{path} is missing or damaged ({first_line(error)}); {remedy}") from error

    def _rows(self, path: Path, index: int) -> list[list[Hypothesis]]:
        return [_hypotheses(line) for line in self._lines(path, index)]

    def _lines(self, path: Path, index: int) -> list[bytes]:
        """Return the lines of a shard without the checksum.

        Raises:
            ValueError: it is not what was written.
        """
        lines = path.read_bytes().split(b"\n")
        rows = min(self.shard_rows, self.lines - index * self.shard_rows)
        if lines.pop():
            raise ValueError("its last line is cut off")
        if len(lines) == rows + 1 and lines.pop() != self._checksum(index, lines[:rows]):
            raise ValueError("it has another checksum than it was written with")
        if len(lines) != rows:
            raise ValueError(f"it has {len(lines)} lines, it should have {rows}")
        return lines

    def _checksum(self, index: int, lines: Sequence[bytes]) -> bytes:
        """Return the last line of a shard: a checksum of the others, and of where they belong."""
        place = json.dumps([self.identity, index], sort_keys=True).encode()
        found = hashlib.sha256(b"\n".join([place, *lines]))
        return json.dumps({"sha256": found.hexdigest()}).encode()

    def collect(self, folders: Sequence[Path]) -> None:
        """Copy the shards of other folders of the same job here.

        Raises:
            UserError: a folder is of another job, a shard in it is damaged, or two of them have different
                translations for one shard.
        """
        for folder in folders:
            self.check(folder)
        for folder in folders:
            for index in range(self.count):
                theirs, ours = folder / self.path(index).name, self.path(index)
                if not theirs.is_file() or theirs.resolve() == ours.resolve():
                    continue
                self._read(theirs, index, "run the command again that wrote it, which translates it again")
                if not self._is_whole(index):
                    with written_aside(ours) as partial:
                        shutil.copyfile(theirs, partial)
                elif self._lines(ours, index) != self._lines(theirs, index):
                    raise UserError(
                        f"{theirs} and {ours} are the same shard with different translations; delete one"
                    )

    def claim(self, outputs: Sequence[Path]) -> None:
        """Note which files are going to be written, so that whoever goes on may replace them."""
        with written_aside(self.folder / OUTPUTS) as partial:
            partial.write_text(json.dumps([str(path.resolve()) for path in outputs]), encoding="utf-8")

    def claimed(self) -> set[Path]:
        """Return the files that an interrupted run of this job was writing."""
        try:
            self.check(self.folder)
            found = json.loads((self.folder / OUTPUTS).read_bytes())
        except (UserError, *_DAMAGES):
            return set()
        return {Path(path) for path in found if isinstance(path, str)} if isinstance(found, list) else set()

    def release(self) -> None:
        """Take the note away: the files are whole."""
        (self.folder / OUTPUTS).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder; the result is elsewhere."""
        shutil.rmtree(self.folder)

    def remove_if_empty(self) -> None:
        """Delete the folder if no shard is in it, so that nothing stands in the way of other settings."""
        if {entry.name for entry in self.folder.iterdir()} <= {JOB}:
            self.remove()


_DAMAGES = (OSError, ValueError, RecursionError)
"""What comes of a shard that is missing or damaged."""


def _hypotheses(line: bytes) -> list[Hypothesis]:
    """Return what a line of a shard says of a source.

    Raises:
        ValueError: it is none.
    """
    row = json.loads(line)
    if not isinstance(row, list):
        raise ValueError("a line of it is no list of hypotheses")
    found = []
    for entry in row:
        match entry:
            case [int() | float() as score, 0 | 1 as finished, str() as text] if not isinstance(score, bool):
                found.append(Hypothesis(text, score, bool(finished)))
            case _:
                raise ValueError("a line of it has what is no [score, finished, text]")
    return found


def _one_by_one(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those of groups, such as of the decoding, among the others."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= (
            {f"{name}.{key}": each for key, each in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return found
