"""Classifying with early exits: how fast, how well, and where each text leaves."""

from cmlm_kd.early_exit.exits import exit_early
from cmlm_kd.early_exit.prediction import classify

__all__ = ["classify", "exit_early"]
