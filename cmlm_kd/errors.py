"""Errors that are the user's to mend, and how they are told.

Every import of the library passes here: nothing heavy is imported.
"""

from __future__ import annotations

import errno

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors of a full disk, quota or file."""

NO_PERMISSION = frozenset({errno.EACCES, errno.EROFS})
"""Numbers of the errors of a place that must not be written."""


class UserError(Exception):
    """Something the user gave does not fit.

    The message names the command or criterion, the thing, its value, what is allowed and what to do next. The
    ``cmlm-kd`` command prints it as one line and exits with status 2, without a traceback; fairseq's commands
    print it so too, and exit with status 1 (:mod:`fairseq_plugins.command_line.user_errors`).
    """


def first_line(error: BaseException) -> str:
    """Return what another library's exception says, as part of a message of ours: its first line of text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
