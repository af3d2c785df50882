"""One clear line, instead of a traceback, where a command of fairseq ends in a ``UserError``."""

from __future__ import annotations

import sys
from pathlib import Path

from torch.multiprocessing import ProcessRaisedException

from cmlm_kd.errors import UserError

_NAME = f"{UserError.__module__}.{UserError.__qualname__}: "
_TRACEBACK = "Traceback (most recent call last)"


def user_message(error: BaseException) -> str | None:
    """Return what an exception has to say to the user; None if it is anything but a ``UserError``.

    Data loaders and fairseq's one process a GPU hand the traceback of a worker on as the text of a new
    exception: what counts is the last one in it.
    """
    text = str(error)
    if isinstance(error, UserError) and _TRACEBACK not in text:
        return text
    if isinstance(error, UserError | ProcessRaisedException):
        _, name, message = text.rpartition("\n" + _NAME)
        if name and _TRACEBACK not in message:
            return message.strip()
    return None


def print_user_errors() -> None:
    """Let an uncaught ``UserError`` end the process with one line; all else keeps its traceback."""
    former = sys.excepthook

    def report(kind, error, traceback):
        message = user_message(error)
        if message is None:
            former(kind, error, traceback)
        else:
            print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)

    sys.excepthook = report
