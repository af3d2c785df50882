"""What must be true of a command's end: the same bytes, or one clear line and nothing half-written.

Every function returns what is wrong, in words, or None.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from children import Ended
from programs import Program

Files = Mapping[str, str]
"""Path below a folder -> checksum of the file, or what else it is."""

TRACEBACK = "Traceback (most recent call last)"
REMEDY = re.compile(
    r"; \w|: error: |\b(at least|not among|the tasks are|fetch|give|pass|use|must|choose|run)\b"
    r"|\b(correct|leave|allowed|expected|one of|needs?|none of|not all)\b"
)
"""Every message of ours says what is allowed, or what to do; argparse prints the usage before its own."""

_SEAL = re.compile(rb'"manifest_sha256": "\w+"')
LOCKS = re.compile(r"(^|/)\.[^/]*\.lock$")
NOT_FINITE = re.compile(r"/nonfinite-update\d+-worker\d+\.pt$")
"""The batch of a loss that is not finite, which the message names."""
LEFTOVER = re.compile(r"(^|/)(\.[^/]*\.(partial|former)|crash\.pt|tmp[^/]*)(/|$)")


def files_in(folder: Path) -> dict[str, str]:
    """Return the checksum of every file in a folder; links, folders and the rest by what they are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if LOCKS.search(name):
            continue
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.is_file():
            found[name] = _checksum(path, folder)
        else:
            found[name] = "device or pipe"
    return found


def _checksum(path: Path, folder: Path) -> str:
    """Return a checksum; a manifest that names the folder is the same in another one."""
    try:
        if path.suffix == ".json":
            text = _canonical(path.read_bytes().replace(str(folder).encode(), b"FOLDER"))
            return hashlib.sha256(_SEAL.sub(b"", text)).hexdigest()
        if path.suffix == ".pt":
            return _checksum_of_training(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _canonical(text: bytes) -> bytes:
    """Return JSON without its white space; anything else as it is."""
    try:
        return json.dumps(json.loads(text)).encode()
    except (ValueError, RecursionError):
        return text


def _checksum_of_training(path: Path) -> str:
    """Return a checksum of a checkpoint's weights and moments: the rest has times in it."""
    import torch

    from cmlm_kd.errors import UserError
    from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

    try:
        state = read_checkpoint(path)  # which runs nothing of it
    except UserError:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()

    def add(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                add(f"{name}.{key}", entry)

    if not isinstance(state, Mapping):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    for part in ("model", "last_optimizer_state", "criterion"):
        add(part, state.get(part))
    return digest.hexdigest()


def changed(before: Files, after: Files) -> list[str]:
    """Return the names that are in only one, or differ."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def _below(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def last_line(ended: Ended, speaker: str) -> str | None:
    """Return the line of a refusal: the only one that its speaker says, and the last."""
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if not lines or not lines[-1].startswith(f"{speaker}: "):
        return None
    return lines[-1]


def wrong_refusal(
    ended: Ended,
    program: Program,
    before: Files,
    after: Files,
    named: Iterable[str] = (),
    untouched: bool = True,
) -> str | None:
    """Say what is wrong with a command that ended with an error.

    Args:
        ended, program: of the command.
        before, after: its folder.
        named: of these the line must have one.
        untouched: nothing may be left behind.
    """
    if ended.hung:
        return f"hangs: killed after {ended.seconds:.0f} s"
    if TRACEBACK in ended.err:
        return f"a traceback, ending in {ended.err.strip().splitlines()[-1][:300]!r}"
    if ended.status < 0:
        return f"killed by signal {-ended.status}"
    line = last_line(ended, program.speaker)
    if line is None:
        return f"status {ended.status} without a line of its own: {ended.err[-300:]!r}"
    if not REMEDY.search(line):
        return f"no remedy: {line!r}"
    names = [name for name in named if name]
    if names and not any(name in line for name in names):
        return f"names none of {names}: {line!r}"
    if untouched:
        allowed = program.goes_on
        left = [name for name in changed(before, after) if not _below(name, allowed)]
        if program.is_training:  # fairseq makes --save-dir before anybody is asked
            left = [name for name in left if after.get(name) != "folder" and not NOT_FINITE.search(name)]
        if left:
            return f"leaves {left[:5]} behind: {line!r}"
    return None


def wrong_success(ended: Ended, program: Program, before: Files, after: Files) -> str | None:
    """Say what is wrong with a command that ended well."""
    if TRACEBACK in ended.err:
        return f"status 0 with a traceback: {ended.err[-300:]!r}"
    touched = changed(before, after)
    strange = [name for name in touched if not _below(name, program.writes)]
    if strange:
        return f"status 0, and it wrote {strange[:5]}, which are none of its outputs"
    left = [name for name in touched if name in after and LEFTOVER.search(name)]
    if left:
        return f"status 0, and it left {left[:5]} behind"
    return None


def _said(ended: Ended) -> list[str]:
    """Return what a command printed, without fairseq's times."""
    return [line for line in ended.out.splitlines() if not line.startswith("W-")]


def other_bytes(
    program: Program, found: Ended, after: Files, expected: Ended, reference: Files
) -> str | None:
    """Say where a command's outputs are not those of the undisturbed run."""
    differ = [name for name in changed(reference, after) if _below(name, program.writes)]
    if differ:
        return f"other bytes in {differ[:5]}"
    if not program.is_training and _said(found) != _said(expected):
        return f"prints something else: {found.out[:200]!r}"
    return None
