"""NumPy's files, read without pickles and compared with what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cmlm_kd.errors import UserError, first_line


def read_array(
    path: Path, kind: DTypeLike, shape: Sequence[int | None], remedy: str, *, owner: str = ""
) -> NDArray[Any]:
    """Map an array of a ``.npy`` file into memory, read only.

    Args:
        path: of the file.
        kind: type of its numbers.
        shape: its sizes; None for one that may be any.
        remedy: what the message says to do.
        owner: what it begins with.

    Raises:
        UserError: it is missing, no array, cut off, or of another type or shape.
    """
    try:
        # Mapped, because a wrong shape in the header would otherwise be a lot of memory.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{owner}{path} is missing; {remedy}") from None
    except Exception as error:  # NumPy evaluates the header, which raises many types
        raise UserError(f"{owner}{path} is damaged (no array: {first_line(error)}); {remedy}") from None
    wanted = np.dtype(kind)
    fits = len(array.shape) == len(shape) and all(
        size in (None, found) for size, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != wanted or not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        found = ", ".join(map(str, array.shape))
        raise UserError(
            f"{owner}{path} is damaged ({array.dtype} of shape ({found}), it should be {wanted} of "
            f"({sizes})); {remedy}"
        )
    return array


def check_finite(path: Path, array: NDArray[Any], remedy: str, *, owner: str = "") -> None:
    """Refuse an array with numbers that are not finite.

    Raises:
        UserError: naming the row of the first.
    """
    for start in range(0, len(array), _ROWS_AT_ONCE):
        wrong = ~np.isfinite(array[start : start + _ROWS_AT_ONCE])
        if wrong.any():
            row = start + int(np.argwhere(wrong)[0][0])
            raise UserError(f"{owner}{path} has a number that is not finite in row {row}; {remedy}")


_ROWS_AT_ONCE = 1 << 16
