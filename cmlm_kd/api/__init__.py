"""The interface for criteria and teachers of one's own: what they read and return, where to register them.

Everything that :mod:`examples.new_criterion` needs comes from here, and stays.
"""

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, Term
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, Request
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import NamedSource, SignalSource, TeacherBatch, TrainingSet, signal_sources

__all__ = [
    "CriterionOutput",
    "KDCriterion",
    "ModelDescription",
    "ModelOutput",
    "NamedSource",
    "Needs",
    "Request",
    "SignalSource",
    "SoftTargets",
    "TeacherBatch",
    "TeacherSignal",
    "Term",
    "TrainingSet",
    "kd_criteria",
    "signal_sources",
]
