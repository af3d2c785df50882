"""Errors that are the user's to mend, and how they are told.

Every import of the library passes here: nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors of a full disk, quota or file."""

NO_PERMISSION = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Numbers of the errors of a place that must not be written."""

_REMEDIES = {
    **dict.fromkeys(NO_SPACE, "make room or choose another place"),
    **dict.fromkeys(NO_PERMISSION, "change its permissions or choose another place"),
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a file is where a folder is meant: choose another place",
    errno.EISDIR: "a folder is where a file is meant: name a file",
    errno.EEXIST: "choose another place",
    errno.ENOTEMPTY: "choose another place",
    errno.ENOENT: "check the path",
    errno.ELOOP: "mend the link or choose another place",
    errno.EBUSY: "wait for what uses it, or choose another place",
    errno.EXDEV: "choose a place on one file system",
    errno.ENXIO: "give a file, a folder or a pipe that somebody reads",
    errno.ENODEV: "give a file or a folder",
    errno.EINVAL: "choose another place or name",
    errno.EIO: "look after the disk, or choose another place",
    errno.ESTALE: "look after the network drive, or choose another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files",
}
"""Number of an error of the operating system -> what the user can do."""

_NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)")  # as Rust's libraries say it: safetensors, tokenizers
_NUMBER_IN_LIST = re.compile(r"\[Errno (\d+)\]")
_NO_MEMORY = re.compile(
    r"can't allocate memory|Overflow when unpacking long|Storage size calculation overflow"
)
_NO_TEMPORARY = re.compile("No usable temporary directory")  # "no such file", as tempfile has it
_LINK_LOOP = re.compile(r"Symlink loop from '(.+)'$")  # a RuntimeError of pathlib's resolve
_LINE_ENDS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_LONGEST = 2000  # characters of a message, which begins with what and ends with what to do
_PICKLE = "Weights only load failed"
"""Words of torch's safe loading, which go on with how to switch it off."""
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # as NumPy says it, without a number


class UserError(Exception):
    """Something the user gave does not fit.

    The message names the command or criterion, the thing, its value, what is allowed and what to do next. The
    ``cmlm-kd`` command prints it as one line and exits with status 2, without a traceback; fairseq's commands
    print it so too, and exit with status 1 (:mod:`fairseq_plugins.command_line.user_errors`).
    """


@contextlib.contextmanager
def speaking_of(subject: object) -> Iterator[None]:
    """Let what is refused inside say of which file it is, unless it does.

    Raises:
        UserError: what was raised, with the subject in front.
    """
    try:
        yield
    except UserError as error:
        if str(subject) in str(error):
            raise
        raise UserError(f"{subject}: {error}") from error.__cause__


def first_line(error: BaseException) -> str:
    """Return what another library's exception says, as part of a message of ours: its first line of text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith(_PICKLE):
        return (
            "its weights are a pickle of more than tensors, which is never loaded: save them as safetensors"
        )
    return lines[0].rstrip(".:") if lines else type(error).__name__


def one_line(message: str) -> str:
    """Return a message as one line: values of the user, and words of other libraries, may have several."""
    line = _LINE_ENDS.sub(" ", message.strip())
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


def os_error_of(error: BaseException) -> OSError | None:
    """Return the error of the operating system that an exception stands for, None if it is of another kind.

    Libraries that write files have types of their own for a full disk: safetensors and tokenizers say the
    error's number in words, NumPy how much was written, pathlib has a
    RuntimeError for links, torch raises what it was told by a file and then an error of its own about its
    archive.
    """
    if isinstance(error, OSError) and error.errno is not None:
        if _NO_TEMPORARY.match(error.strerror or ""):
            return OSError(
                errno.ENOSPC, f"{error.strerror}: they are full, or not to be written (see TMPDIR)"
            )
        return error
    loop = _LINK_LOOP.match(str(error))
    if loop is not None:
        return OSError(errno.ELOOP, os.strerror(errno.ELOOP), loop[1])
    number = _NUMBER_IN_TEXT.search(str(error))
    if number is not None:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    listed = _NUMBER_IN_LIST.search(str(error)) if isinstance(error, OSError) else None
    if listed is not None:  # of shutil, a list of what could not be copied
        return OSError(int(listed[1]), os.strerror(int(listed[1])))
    if isinstance(error, OSError):
        cut_short = _CUT_SHORT.search(str(error)) is not None
        return OSError(errno.ENOSPC, "Only a part could be written") if cut_short else None
    return next((cause for cause in _causes(error) if cause.errno in NO_SPACE), None)


def memory_message(error: BaseException) -> str | None:
    """Return what to say of numbers that no memory can hold; None for other errors.

    torch has RuntimeErrors for them.
    """
    if not isinstance(error, MemoryError) and _NO_MEMORY.search(str(error)) is None:
        return None
    said = f" ({first_line(error)})" if str(error) else ""
    return f"not enough memory{said}; ask for less at once"


def os_error_message(error: OSError, place: str = "") -> str | None:
    """Return what an error of the operating system has to say to the user: the path, the reason, what to do.

    Args:
        error: what was raised.
        place: the path, where the error does not name one.

    Returns:
        one line; None for an error that is not the user's to mend, or that says neither path nor disk.
    """
    place = place or _text(error.filename)
    if error.filename == "":  # such as a variable that nobody set
        place = "an empty path"
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None or not (place or error.errno in NO_SPACE):
        return None
    return f"{place + ': ' if place else ''}{error.strerror}; {remedy}"


def _causes(error: BaseException) -> Iterator[OSError]:
    """Yield the errors of the operating system that led to an exception."""
    seen: set[int] = set()
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError):
            yield cause
        cause = cause.__cause__ or cause.__context__


def _text(name: object) -> str:
    if name is None or isinstance(name, int):
        return ""
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
