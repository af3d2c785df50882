"""The KD criteria, one file each, and those that installed packages add."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "cmlm_kd.criteria"
"""Group of entry points: name of a criterion -> the module of an installed package that registers it."""

logger = logging.getLogger(__name__)


@cache
def load_criteria() -> None:
    """Register every criterion: those of this package, then those that installed packages add.

    A package whose criterion cannot be registered never stands in the way of the others: a warning says so,
    and whoever names that criterion (:meth:`cmlm_kd.api.registry.Registry.get`) gets its text as an error.
    """
    from importlib.metadata import entry_points

    # Imported here, and not with this package: who needs one criterion should not wait for all.
    from cmlm_kd.criteria import (  # noqa: F401 - each registers itself
        bert_mlm,
        bilstm,
        distilbert,
        fastbert,
        mobilebert,
        mtdnn,
        pkd,
        sentence_classification,
        soft_target,
        tinybert,
    )

    load_entry_points(entry_points(group=ENTRY_POINTS))


def load_entry_points(points: Iterable[EntryPoint]) -> None:
    """Import what installed packages register; note what fails in :attr:`kd_criteria.broken`."""
    for point in points:
        package = f"package {point.dist.name} {point.dist.version}" if point.dist else "an installed package"
        problem = _load(point)
        if problem is not None:
            error = UserError(
                f"criterion {point.name!r} of {package} cannot be used: entry point "
                f"'{point.name} = {point.value}' of group {ENTRY_POINTS}: {problem}"
            )
            kd_criteria.broken[point.name] = error
            logger.warning("%s", error)


def _load(point: EntryPoint) -> str | None:
    """Return why what an entry point names cannot be used, and what to do; None for success."""
    name = point.dist.name if point.dist else point.module
    registered = set(kd_criteria)
    try:
        point.load()
    except UserError as error:  # of the registry: the name or the class is taken, or is none
        return f"{error}; rename it in the package, or run: pip uninstall {name}"
    except Exception as error:  # somebody else's code may fail in any way
        return f"{type(error).__name__}: {error}; update or repair the package, or run: pip uninstall {name}"
    if point.name not in kd_criteria:
        added = ", ".join(sorted(set(kd_criteria) - registered)) or "none"
        return (
            f"it registers no criterion of that name (but {added}); name the entry point as the criterion is "
            "registered"
        )
    return None
