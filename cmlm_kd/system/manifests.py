"""The reader of every JSON file that says what a directory of ours holds, and the writer of such files.

A manifest is a dataclass: :func:`read_manifest` gives one whose fields have the types that they should have,
or a message that names file, field and value. What :func:`write_manifest` writes carries a checksum of
itself, because a wrong number in it is as bad as one in the data; files without one, of earlier releases, are
read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.git_lfs import refuse_pointer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SEAL = "manifest_sha256"
"""The last entry of a manifest: the checksum of all others."""

_LONGEST_VALUE = 40
"""Characters of a wrong value that a message shows."""

Document = TypeVar("Document")


def read_manifest(path: Path, kind: type[Document], remedy: str, *, owner: str = "") -> Document:
    """Read a manifest of ours.

    Args:
        path: of the file.
        kind: the dataclass that describes it; entries that it has no field for are left out.
        remedy: what the message says to do.
        owner: what it begins with, such as ``store: ``.

    Raises:
        UserError: it is missing, cannot be read, or is damaged, naming the field and its value.
    """
    document = read_object(path, remedy, owner=owner)
    manifest = check_document(path, document, kind, remedy, owner=owner)
    check_seal(path, document, remedy, owner=owner)  # last: a wrong field says more
    return manifest


def read_object(path: Path, remedy: str, *, owner: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object; what is in it nobody has looked at.

    Raises:
        UserError: it is missing, cannot be read, is no JSON, or holds something else.
    """
    try:
        document = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{owner}{path} is missing; {remedy}") from None
    except OSError as error:
        raise UserError(f"{owner}{path} cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError) as error:
        refuse_pointer(path)
        raise UserError(f"{owner}{path} is damaged ({_no_json(error)}); {remedy}") from None
    if not isinstance(document, dict):
        raise UserError(
            f"{owner}{path} is damaged (the file is {_shown(document)}, it should be an object); {remedy}"
        )
    return document


def check_document(
    path: Path, document: Mapping[str, Any], kind: type[Document], remedy: str, *, owner: str = ""
) -> Document:
    """Return a document as the dataclass that describes it; see :func:`read_manifest`.

    Args:
        path: where it was read, for messages.
        document: what :func:`read_object` returned, or a part of it.
        kind: the dataclass.
        remedy: what the message says to do.
        owner: what it begins with.

    Raises:
        UserError: naming the first field that is missing or of another type, and its value.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON: in strict mode a list is no tuple otherwise.
        return TypeAdapter(kind).validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        reason = _reason(error.errors(include_url=False)[0])
        raise UserError(f"{owner}{path} is damaged ({reason}); {remedy}") from None


def write_manifest(path: Path, document: Mapping[str, Any]) -> None:
    """Write a manifest with the checksum of itself; equal ones are equal bytes.

    Args:
        path: of the file; it is written in place, in a directory that appears as a whole.
        document: JSON values.
    """
    path.write_text(json.dumps(sealed(document), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sealed(document: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, Any]:
    """Return JSON values with the checksum of themselves as the last entry.

    Args:
        document: JSON values.
        but: names of entries that the checksum leaves out.
    """
    return {**document, SEAL: _seal(document, but)}


def check_seal(
    path: Path, document: Mapping[str, Any], remedy: str, *, owner: str = "", but: Collection[str] = ()
) -> None:
    """Refuse a manifest in which something was changed; one of a release without checksums passes.

    Args:
        path: of the file, for the message.
        document: what it holds.
        remedy: what the message says to do.
        owner: what it begins with.
        but: see :func:`sealed`.

    Raises:
        UserError: naming both checksums.
    """
    if odd := next(filter(_is_nearly_seal, document), None):
        raise UserError(f"{owner}{path} is damaged (its entry {_shown(odd)} was {SEAL}); {remedy}")
    if SEAL in document and document[SEAL] != _seal(document, but):
        raise UserError(
            f"{owner}{path} is damaged ({SEAL} is {_shown(document[SEAL])}, its contents have "
            f"{_seal(document, but)[:12]}: something in it was changed); {remedy}"
        )


def _is_nearly_seal(name: str) -> bool:
    """Return whether a name was the checksum's until a bit of it changed: without one nothing is compared."""
    return len(name) == len(SEAL) and sum(a != b for a, b in zip(name, SEAL, strict=True)) == 1


def _seal(document: Mapping[str, Any], but: Collection[str]) -> str:
    rest = {name: value for name, value in document.items() if name != SEAL and name not in but}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _no_json(error: Exception) -> str:
    reason = "nested too deeply" if isinstance(error, RecursionError) else first_line(error)
    return f"Invalid JSON: {reason}"


def _reason(problem: ErrorDetails) -> str:
    """Return what is wrong with which field: the first problem that was found."""
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{name} is missing"
    if problem["type"] == "json_invalid":  # half of a surrogate pair, which Python's reader takes
        return problem["msg"]
    expected = problem["msg"].removeprefix("Input should be ").replace("an object or an instance of ", "")
    return f"{name or 'the file'} is {_shown(problem['input'])}, it should be {expected}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
