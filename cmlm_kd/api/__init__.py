"""The interface for criteria of one's own: what one is, reads and returns, and where it is registered.

Everything that :mod:`examples.new_criterion` needs comes from here, and stays.
"""

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion, ModelOutput, Term
from cmlm_kd.api.needs import ModelDescription, Needs
from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.api.signals import SoftTargets, TeacherSignal

__all__ = [
    "CriterionOutput",
    "KDCriterion",
    "ModelDescription",
    "ModelOutput",
    "Needs",
    "SoftTargets",
    "TeacherSignal",
    "Term",
    "kd_criteria",
]
