"""What the folder of a run says of a command that ran there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from cmlm_kd.errors import UserError
from cmlm_kd.recipes.run_folder import RESOLVED


def recorded_command(run: Path, command: str, output_flag: str = "--output") -> list[str]:
    """Return the words of a command of a run, with paths in its folder as they are now.

    The folder may have been moved since, or be looked at from elsewhere: what the command wrote says
    what the folder was called then.

    Args:
        run: a folder that ``cmlm-kd run`` made.
        command: what the command begins with, such as ``cmlm-kd report``.
        output_flag: the flag of the command that names the first output of its step.

    Returns:
        the words after ``command``.

    Raises:
        UserError: it is no folder of a run, or none of its steps has such a command.
    """
    for step in _steps(run):
        for line in str(step.get("run", "")).splitlines():
            # Lines of other commands may be parts of a quotation, which cannot be split.
            words = shlex.split(line.removeprefix(command)) if line.startswith(f"{command} ") else []
            if output_flag in words:
                written = words[words.index(output_flag) + 1]
                inside = str((step.get("outputs") or [""])[0])
                former = written.removesuffix(inside).rstrip("/")
                return [_moved(word, former, run) for word in words]
    raise UserError(f"{run}: none of its steps is a '{command}'; give the flags that it takes instead")


def _steps(run: Path) -> list[dict[str, Any]]:
    path = run / RESOLVED
    if not path.is_file():
        raise UserError(f"{run} is no folder of a run, it has no {RESOLVED}; give one of 'cmlm-kd run'")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = list(document["steps"].values())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError):
        steps = [None]
    if not all(isinstance(step, dict) for step in steps):
        raise UserError(f"{path} is damaged; run the recipe again, which writes it")
    return steps


def _moved(word: str, former: str, run: Path) -> str:
    """Return a word, a path or ``NAME=PATH``, whose path has the folder's name of today."""
    if not former:
        return word
    return re.sub(rf"(^|=){re.escape(former)}(?=/|$)", lambda found: f"{found[1]}{run}", word)
