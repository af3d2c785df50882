"""The shards of an unfinished translation: a folder beside the output, which an interrupted job goes on from.

Each shard is a file of one JSON line for each source: a list of ``[score, finished, text]``, best first. A
file with its final name is complete. ``job.json`` says what all of them are of.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.errors import UserError
from cmlm_kd.system.aside import hold_directory, holding, parents_made
from cmlm_kd.system.files import check_new_directory, written_aside

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
            found = json.loads((folder / JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
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

    def pending(self) -> list[int]:
        """Return the shards that are not there yet."""
        return [index for index in range(self.count) if not self.path(index).is_file()]

    def write(self, index: int, rows: Iterable[Sequence[Hypothesis]]) -> None:
        """Write a shard; when its file is there it is complete."""
        with written_aside(self.path(index)) as partial, partial.open("w", encoding="utf-8") as stream:
            for row in rows:
                entries = [[entry.score, int(entry.finished), entry.text] for entry in row]
                stream.write(json.dumps(entries, ensure_ascii=False, separators=(",", ":")) + "\n")

    def read(self) -> Iterator[list[Hypothesis]]:
        """Yield the hypotheses of each source, in the order of the input.

        Raises:
            UserError: a shard is missing or damaged.
        """
        for index in range(self.count):
            yield from self._read(index)

    def _read(self, index: int) -> Iterator[list[Hypothesis]]:
        path = self.path(index)
        rows = min(self.shard_rows, self.lines - index * self.shard_rows)
        try:
            with path.open(encoding="utf-8") as stream:
                for line in stream:
                    yield [Hypothesis(text, score, bool(done)) for score, done, text in json.loads(line)]
                    rows -= 1
            if rows:
                raise ValueError("it has not as many lines as it should")
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{path} is missing or damaged ({error}); delete it and run the same command again"
            ) from error

    def collect(self, folders: Sequence[Path]) -> None:
        """Copy the shards of other folders of the same job here.

        Raises:
            UserError: a folder is of another job, or two of them have different bytes for one shard.
        """
        for folder in folders:
            self.check(folder)
        for folder in folders:
            for index in range(self.count):
                theirs, ours = folder / self.path(index).name, self.path(index)
                if not theirs.is_file() or theirs.resolve() == ours.resolve():
                    continue
                if ours.is_file() and ours.read_bytes() != theirs.read_bytes():
                    raise UserError(
                        f"{theirs} and {ours} are the same shard with different translations; delete one"
                    )
                with written_aside(ours) as partial:
                    shutil.copyfile(theirs, partial)

    def claim(self, outputs: Sequence[Path]) -> None:
        """Note which files are going to be written, so that whoever goes on may replace them."""
        with written_aside(self.folder / OUTPUTS) as partial:
            partial.write_text(json.dumps([str(path.resolve()) for path in outputs]), encoding="utf-8")

    def claimed(self) -> set[Path]:
        """Return the files that an interrupted run of this job was writing."""
        try:
            self.check(self.folder)
            return set(map(Path, json.loads((self.folder / OUTPUTS).read_text(encoding="utf-8"))))
        except (UserError, OSError, ValueError):
            return set()

    def release(self) -> None:
        """Take the note away: the files are whole."""
        (self.folder / OUTPUTS).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder; the result is elsewhere."""
        shutil.rmtree(self.folder)

    def remove_if_empty(self) -> None:
        """Delete the folder if no shard is in it, so that nothing stands in the way of other settings."""
        if len(self.pending()) == self.count and {entry.name for entry in self.folder.iterdir()} <= {JOB}:
            self.remove()


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
