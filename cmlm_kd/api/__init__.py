"""The interface for criteria, teachers and translators of one's own, and where to register them.

Neither needs anything else of the toolkit (``examples/new_criterion``), and these names stay.
"""

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
