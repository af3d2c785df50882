"""The KD criteria, one file each, and those that installed packages add."""

from __future__ import annotations

from functools import cache

from cmlm_kd.api.registry import kd_criteria

ENTRY_POINTS = "cmlm_kd.criteria"
"""Group of entry points: name of a criterion -> the module of an installed package that registers it."""


@cache
def load_criteria() -> None:
    """Register every criterion: those of this package, then those that installed packages add."""
    # Imported here, and not with this package: who needs one criterion should not wait for all.
    from cmlm_kd.criteria import (  # noqa: F401 - each registers itself
        bert_mlm,
        bilstm,
        distilbert,
        fastbert,
        hidden_state,
        mobilebert,
        mtdnn,
        pkd,
        selective,
        sentence_classification,
        soft_target,
        tie,
        tinybert,
    )

    kd_criteria.load_entry_points(ENTRY_POINTS)
