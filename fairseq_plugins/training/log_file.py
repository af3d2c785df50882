"""A log file that has each line of its training once, and no line of another one.

fairseq makes a progress bar for each epoch, and opens ``--log-file`` anew for each of them without closing
the last one: a line is written once for each bar so far, open files grow until the system's limit, and a
second training of the same process writes into the first one's file, too.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import fairseq.logging.progress_bar


def log_each_line_once() -> None:
    """Let the bar of an epoch close what that of the last one opened."""
    progress_bar = fairseq.logging.progress_bar.progress_bar
    logger = fairseq.logging.progress_bar.logger
    opened: list[logging.Handler] = []

    @functools.wraps(progress_bar)
    def with_one_file(*passed: Any, **named: Any) -> Any:
        # A validation's bar is told of no file: its lines go to that of the epoch around it.
        while opened and "log_file" in named:
            logger.removeHandler(handler := opened.pop())
            handler.close()
        others = list(logger.handlers)
        bar = progress_bar(*passed, **named)
        opened.extend(handler for handler in logger.handlers if handler not in others)
        return bar

    fairseq.logging.progress_bar.progress_bar = with_one_file
