"""What passes from teachers to a criterion: one signal, whoever and however many they are."""

import pytest
import torch
from fairseq import utils

from cmlm_kd.api.signals import SoftTargets, TeacherSignal

FIRST = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
SECOND = torch.tensor([[0.0, 1.0, 1.0], [-2.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_one_teacher(temperature):
    signal = TeacherSignal((FIRST,))
    torch.testing.assert_close(signal.probabilities(temperature), (FIRST / temperature).softmax(-1))
    torch.testing.assert_close(signal.logits, FIRST)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_ensemble_is_the_mean_of_probabilities(temperature):
    signal = TeacherSignal((FIRST, SECOND))
    expected = ((FIRST / temperature).softmax(-1) + (SECOND / temperature).softmax(-1)) / 2
    torch.testing.assert_close(signal.probabilities(temperature), expected)
    with pytest.raises(ValueError, match="no logits"):
        _ = signal.logits


def test_an_ensemble_of_logits():
    signal = TeacherSignal((FIRST, SECOND), "logits")
    torch.testing.assert_close(signal.logits, (FIRST + SECOND) / 2)
    torch.testing.assert_close(signal.probabilities(2.0), ((FIRST + SECOND) / 4).softmax(-1))


def test_half_precision_is_widened():
    assert TeacherSignal((FIRST.half(), SECOND.half())).probabilities().dtype == torch.float32


def test_the_batch_form_survives_fairseqs_moves():
    soft = SoftTargets(
        torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 2, 1), torch.ones(1, 2, dtype=torch.bool)
    )
    signal = TeacherSignal((FIRST, SECOND), "logits", soft, {0: FIRST, 3: SECOND}, {2: FIRST})
    moved = utils.apply_to_sample(lambda tensor: tensor + 0, {"teacher": signal.to_batch()})["teacher"]
    back = TeacherSignal.from_batch(moved)
    assert back.ensembling == "logits" and len(back.members) == 2
    torch.testing.assert_close(back.logits, signal.logits)
    assert sorted(back.hidden_states) == [0, 3] and torch.equal(back.attention_scores[2], FIRST)
    assert torch.equal(back.soft_targets.ids, soft.ids)


def test_soft_targets_alone_are_a_signal():
    """What the store puts into a batch."""
    soft = SoftTargets(
        torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 2, 1), torch.ones(1, 2, dtype=torch.bool)
    )
    signal = TeacherSignal.from_batch(soft.to_batch())
    assert signal.members == () and torch.equal(signal.soft_targets.logits, soft.logits)
