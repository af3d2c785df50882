"""The interface for criteria, teachers and translators of one's own, and where to register them.

Neither needs anything else of the toolkit (``examples/new_criterion``), and these names stay. A name is
imported when it is first asked for: torch and all that is behind it take a second, and who wants
``UserError`` needs none of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmlm_kd.api.criterion import (
        NOT_MASKED,
        CriterionOutput,
        KDCriterion,
        SentenceCriterion,
        Term,
        hard_label_loss,
    )
    from cmlm_kd.api.model_output import ModelOutput
    from cmlm_kd.api.needs import (
        ATTENTION_SCORES,
        CROSS_ATTENTION_SCORES,
        EXITS,
        HIDDEN_STATES,
        LOGITS,
        NOTHING_ELSE,
        PROBABILITIES,
        SOFT_TARGETS,
        ModelDescription,
        Needs,
        Request,
    )
    from cmlm_kd.api.next_tokens import (
        NamedTeacher,
        NextTokens,
        Pairs,
        TeacherOptions,
        TranslationData,
        next_token_teachers,
    )
    from cmlm_kd.api.registry import kd_criteria
    from cmlm_kd.api.signals import SoftTargets, TeacherSignal
    from cmlm_kd.api.sources import NamedSource, SignalSource, TeacherBatch, TrainingSet, signal_sources
    from cmlm_kd.api.translator import (
        Decoding,
        Hypothesis,
        ModelChoice,
        Source,
        TokenText,
        Translator,
        translators,
    )
    from cmlm_kd.errors import UserError
    from cmlm_kd.system.ranges import (
        AT_LEAST_ONE,
        NOT_NEGATIVE,
        POSITIVE,
        SHARE,
        Range,
        check_settings,
        setting,
    )

_PLACES = {
    "cmlm_kd.api.criterion": [
        "NOT_MASKED",
        "CriterionOutput",
        "KDCriterion",
        "SentenceCriterion",
        "Term",
        "hard_label_loss",
    ],
    "cmlm_kd.api.model_output": ["ModelOutput"],
    "cmlm_kd.api.needs": [
        "ATTENTION_SCORES",
        "CROSS_ATTENTION_SCORES",
        "EXITS",
        "HIDDEN_STATES",
        "LOGITS",
        "NOTHING_ELSE",
        "PROBABILITIES",
        "SOFT_TARGETS",
        "ModelDescription",
        "Needs",
        "Request",
    ],
    "cmlm_kd.api.next_tokens": [
        "NamedTeacher",
        "NextTokens",
        "Pairs",
        "TeacherOptions",
        "TranslationData",
        "next_token_teachers",
    ],
    "cmlm_kd.api.registry": ["kd_criteria"],
    "cmlm_kd.api.signals": ["SoftTargets", "TeacherSignal"],
    "cmlm_kd.api.sources": ["NamedSource", "SignalSource", "TeacherBatch", "TrainingSet", "signal_sources"],
    "cmlm_kd.api.translator": [
        "Decoding",
        "Hypothesis",
        "ModelChoice",
        "Source",
        "TokenText",
        "Translator",
        "translators",
    ],
    "cmlm_kd.errors": ["UserError"],
    "cmlm_kd.system.ranges": [
        "AT_LEAST_ONE",
        "NOT_NEGATIVE",
        "POSITIVE",
        "SHARE",
        "Range",
        "check_settings",
        "setting",
    ],
}
"""Where each name is defined, as the imports above say it to type checkers."""

__all__ = [
    "ATTENTION_SCORES",
    "AT_LEAST_ONE",
    "CROSS_ATTENTION_SCORES",
    "EXITS",
    "HIDDEN_STATES",
    "LOGITS",
    "NOTHING_ELSE",
    "NOT_MASKED",
    "NOT_NEGATIVE",
    "POSITIVE",
    "PROBABILITIES",
    "SHARE",
    "SOFT_TARGETS",
    "CriterionOutput",
    "Decoding",
    "Hypothesis",
    "KDCriterion",
    "ModelChoice",
    "ModelDescription",
    "ModelOutput",
    "NamedSource",
    "NamedTeacher",
    "Needs",
    "NextTokens",
    "Pairs",
    "Range",
    "Request",
    "SentenceCriterion",
    "SignalSource",
    "SoftTargets",
    "Source",
    "TeacherBatch",
    "TeacherOptions",
    "TeacherSignal",
    "Term",
    "TokenText",
    "TrainingSet",
    "TranslationData",
    "Translator",
    "UserError",
    "check_settings",
    "hard_label_loss",
    "kd_criteria",
    "next_token_teachers",
    "setting",
    "signal_sources",
    "translators",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        place = next((module for module, names in _PLACES.items() if name in names), None)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(place), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
