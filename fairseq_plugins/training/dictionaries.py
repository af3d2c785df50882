"""A dictionary that is none is told in one line, whichever task reads it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.files import finish_interrupted

_LONGEST = 120
"""Characters of what fairseq says, which repeats the line, however long."""


def check_dictionaries() -> None:
    """Let fairseq name the file of a dictionary that it cannot read, and say what to do."""
    add = Dictionary.add_from_file

    @functools.wraps(add)
    def add_checked(self: Dictionary, file: Any) -> Any:
        if isinstance(file, str):
            finish_interrupted(Path(file).parent)  # of 'cmlm-kd prepare'
        try:
            return add(self, file)
        except (UserError, OSError):
            raise
        except Exception as error:  # it raises bare exceptions, too
            if not isinstance(file, str):
                raise
            raise UserError(
                f"{file} is no dictionary ({first_line(error)[:_LONGEST]}); write the data again with "
                "'cmlm-kd prepare'"
            ) from error

    Dictionary.add_from_file = add_checked
