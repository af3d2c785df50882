"""What is measured on a batch before training, and what that leaves behind."""

import pytest
from fairseq.logging import metrics

from fairseq_plugins.training.before_training import _logged


class Trainer:
    """Measures one thing, or fails on the way."""

    def __init__(self, error=None):
        self.error = error

    def valid_step(self, sample):
        metrics.log_scalar("f1", 1.0)
        if self.error is not None:
            raise self.error


def test_what_is_measured_is_told_and_not_kept():
    assert _logged(Trainer(), {}) == ["f1"]
    assert "f1" not in metrics.get_meters("default")


def test_a_failure_leaves_fairseq_its_meters():
    former = metrics.get_active_aggregators()
    with pytest.raises(ValueError, match="no such row"):
        _logged(Trainer(ValueError("no such row")), {})
    assert metrics.get_active_aggregators() == former and former
