"""What lies where the steps of a run write: what the records name is the run's, and the rest is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.records import FOLDER, Records
from cmlm_kd.recipes.steps import Step, is_inside
from cmlm_kd.system.aside import parts_of

OLD = ".old"
"""Where an output goes before it is made again, in the run's folder; ``.old.1`` and so on if it is taken."""


class Outputs:
    """The outputs of a recipe's steps, on disk and in the records.

    A step that has finished has named each file. One that has begun has named no file yet: all that is at
    its outputs counts as its own.

    Args:
        run: the run's folder, absolute.
        steps: all of the recipe.
        records: of the run.
    """

    def __init__(self, run: Path, steps: Mapping[str, Step], records: Records) -> None:
        self._run = run
        self._steps = steps
        self._records = records

    def there(self, step: Step) -> list[str]:
        """Return the outputs of a step that are there, and what its command keeps beside them so far."""
        beside = [str(parts_of(Path(path))) for path in step.outputs]  # what a translation has so far
        return [path for path in (*step.outputs, *beside) if os.path.lexists(path)]

    def check(self, selected: Iterable[Step]) -> None:
        """Refuse what somebody else has put where a step writes.

        Raises:
            UserError: naming the first file that no step has made.
        """
        places = {*self._made(), *self._begun()}
        for step in self._steps.values():
            if self._records.damaged(step.place):  # it says no more which files, but that there was a step
                places.update(step.outputs)
        places.update([str(parts_of(Path(path))) for path in places])
        for step in selected:
            for path in self.there(step):
                around = [path, *map(str, Path(path).parents)]
                stranger = None if places.intersection(around) else self.stranger(path)
                if stranger is not None:
                    raise UserError(
                        f"{stranger} is in the way: step {step.name} writes {path}, and no record of the run "
                        "says that a step has made what is there; move it away, or give another --output"
                    )

    def stranger(self, path: str) -> str | None:
        """Return the first file at a path, or in the directory there, that no step has made."""
        named = {file for files in self._made().values() for file in files}
        begun = self._begun()
        for file in _files(path):
            ours = file in named or any(file == place or is_inside(file, place) for place in begun)
            if not ours and os.path.islink(file):  # files may have been noted by way of it
                ours = any(is_inside(other, file) for other in named)
            if not ours:
                return file
        return None

    def put_aside(self, path: str) -> str:
        """Move an output out of the way; returns the new place.

        What is there of the same name is removed if it was put there by this, and was all the run's. What
        has files of others in it gets a folder of its own.
        """
        name = os.path.relpath(path, self._run)
        ours = self.stranger(path) is None
        for folder in _numbered(OLD):
            place, note = self._run / folder / name, self._run / FOLDER / f"{name}{folder}"
            if not os.path.lexists(place if ours else self._run / folder):
                break
            if ours and note.is_file():
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
                break
        place.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, place)
        if ours:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        return str(place)

    def is_missing(self, step: Step, path: str) -> bool:
        """Return whether a temporary output is not there, or something of it."""
        return not os.path.lexists(path) or not all(map(os.path.lexists, self._noted(step, path)))

    def remove(self, step: Step, path: str) -> None:
        """Remove a temporary output; in a directory what others have put there stays."""
        noted = set(self._noted(step, path))
        for file in list(_files(path)):
            if file in noted or (os.path.islink(file) and any(is_inside(other, file) for other in noted)):
                os.remove(file)
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(folder)

    def _noted(self, step: Step, path: str) -> list[str]:
        """Return the files at a path that a step has noted, or in the directory there."""
        made = self._files_of(step.place).values()
        return [file for files in made for file in files if file == path or is_inside(file, path)]

    def _made(self) -> dict[str, list[str]]:
        """Return output -> its files, of all steps that have finished in this folder, of whichever recipe."""
        found: dict[str, list[str]] = {}
        for place in self._records.places():
            for path, files in self._files_of(place).items():
                found.setdefault(path, []).extend(files)
        return found

    def _files_of(self, place: str) -> dict[str, list[str]]:
        """Return output -> its files, of a step that has finished, as the folder is called today."""
        outputs = self._records.finished(place).get("outputs", {})
        end = f"{os.sep}{place}"
        former = next((path.removesuffix(end) for path in outputs if path.endswith(end)), str(self._run))
        found = {}
        for path, files in outputs.items():
            here = os.path.join(self._run, os.path.relpath(path, former))
            found[here] = [os.path.join(here, name) if name else here for name in files]
        return found

    def _begun(self) -> list[str]:
        """Return the places of all steps that have begun and not finished, and what is beside them."""
        places = set(self._records.places(begun=True))
        found = {str(self._run / place) for place in places}
        for step in self._steps.values():
            if step.place in places:
                found.update(step.outputs)
        return [*found, *(str(parts_of(Path(path))) for path in found)]


def _files(path: str) -> Iterator[str]:
    """Yield what is at a path, or all that is in the directory there but directories; no link is followed."""
    if os.path.islink(path) or not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links]):
            yield os.path.join(folder, name)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 0
    while True:
        number += 1
        yield f"{name}.{number}"
