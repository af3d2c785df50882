"""A log file that has each line once.

fairseq makes a progress bar for each epoch and each validation, and opens ``--log-file`` anew for each of
them without closing the last one: a line is written once for each bar so far, and open files grow until the
system's limit.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

import fairseq.logging.progress_bar


def log_each_line_once() -> None:
    """Let a progress bar close what former ones opened of the same file."""
    progress_bar = fairseq.logging.progress_bar.progress_bar

    @functools.wraps(progress_bar)
    def with_one_file(*passed: Any, log_file: str | None = None, **named: Any) -> Any:
        if log_file is not None:
            _close(log_file)
        return progress_bar(*passed, log_file=log_file, **named)

    fairseq.logging.progress_bar.progress_bar = with_one_file


def _close(path: str) -> None:
    logger = fairseq.logging.progress_bar.logger
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == os.path.abspath(path):
            logger.removeHandler(handler)
            handler.close()
