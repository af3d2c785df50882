"""A run's folder: whose it is, who works in it, and what it keeps besides the outputs of steps."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.reading import Recipe
from cmlm_kd.recipes.records import FOLDER
from cmlm_kd.recipes.settings import plain
from cmlm_kd.recipes.steps import Step
from cmlm_kd.system.environment import FAIRSEQ_BUILDS, installed_version
from cmlm_kd.system.files import written_aside
from cmlm_kd.version import __version__

RESOLVED = "recipe.yaml"
_PATIENCE = 5.0
"""Seconds to wait for the commands of a run that was killed to end."""


_installed_version = functools.cache(installed_version)  # every step asks for the same


def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return package -> installed version, ``none`` where it is not installed.

    Of the builds of fairseq those that are not installed are left out.
    """
    found = {name: __version__ if name == "cmlm-kd" else _installed_version(name) for name in names}
    return {
        name: version or "none" for name, version in found.items() if version or name not in FAIRSEQ_BUILDS
    }


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Make the folder and keep it for this run; yield a descriptor that keeps it as long as any copy is open.

    Raises:
        UserError: another run works there.
    """
    place = folder / FOLDER / "lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
            if _is_alive(owner) or time.monotonic() > until:
                raise UserError(
                    f"{folder}: another 'cmlm-kd run' (process {owner}) works there; wait for it, or give "
                    "another --output"
                ) from None
            time.sleep(0.1)


def _is_alive(process: str) -> bool:
    return process.isdigit() and os.path.exists(f"/proc/{process}")


def check_owner(folder: Path, recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Refuse a folder with the run of another recipe, or of this one with other settings that matter.

    Raises:
        UserError: naming the folder, the setting and both values.
    """
    try:
        found = yaml.safe_load((folder / RESOLVED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (yaml.YAMLError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise UserError(f"{folder / RESOLVED} is damaged; remove it, or give another --output")
    if found.get("name") != recipe.name:
        raise UserError(
            f"{folder} holds a run of the recipe {found.get('name')}, not of {recipe.name}; "
            "give another --output"
        )
    for name, setting in recipe.settings.items():
        before, now = found["settings"].get(name, plain(values[name])), plain(values[name])
        if before != now and not setting.varies:
            raise UserError(
                f"{folder} holds a run with {name}={_text(before)}, not {_text(now)}; give another "
                f"--output, or --set {name}={_text(before)}"
            )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def write_resolved(folder: Path, recipe: Recipe, known: Mapping[str, Any], steps: Mapping[str, Step]) -> None:
    """Write what is run: settings, versions and the commands of all steps."""
    names = tuple(dict.fromkeys(name for step in steps.values() for name in step.versions))
    document = {
        "name": recipe.name,
        "file": os.path.abspath(recipe.file),
        "settings": {name: plain(known[name]) for name in recipe.settings},
        "versions": package_versions(names),
        "steps": {
            step.name: {
                "title": step.title,
                "run": step.command,
                "inputs": [_shown(path, folder) for path in step.inputs],
                "outputs": [_shown(path, folder) for path in step.outputs],
            }
            for step in steps.values()
        },
    }
    with written_aside(folder / RESOLVED) as partial:
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
        partial.write_text(
            f"# Written by 'cmlm-kd run': what it runs, with all values.\n{text}", encoding="utf-8"
        )


def _shown(path: str, folder: Path) -> str:
    inside = os.path.relpath(path, folder)
    return path if inside.startswith("..") else inside


def note_time(folder: Path, seconds: float, title: str) -> None:
    """Add a line to times.txt."""
    with (folder / "times.txt").open("a", encoding="utf-8") as file:
        file.write(f"{round(seconds)} s\t{title}\n")
