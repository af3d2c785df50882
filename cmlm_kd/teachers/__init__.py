"""Teachers: models that yield a signal a student learns from."""

from __future__ import annotations

from functools import cache

from cmlm_kd.api.sources import signal_sources

ENTRY_POINTS = "cmlm_kd.sources"
"""Group of entry points: name of a signal source -> the module of an installed package that registers it."""


@cache
def load_sources() -> None:
    """Register our signal sources and those of installed packages; a user directory registers its own."""
    from cmlm_kd.teachers import online  # noqa: F401  # registers itself

    signal_sources.load_entry_points(ENTRY_POINTS)
