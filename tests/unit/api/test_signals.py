"""What passes from teachers to a criterion: one signal, whoever and however many they are."""

import pytest
import torch
from fairseq import utils

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal

FIRST = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
SECOND = torch.tensor([[0.0, 1.0, 1.0], [-2.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_one_teacher(temperature):
    signal = TeacherSignal.of_logits(FIRST)
    torch.testing.assert_close(signal.probabilities(temperature), (FIRST / temperature).softmax(-1))
    torch.testing.assert_close(signal.logits, FIRST)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_ensemble_is_the_mean_of_probabilities(temperature):
    signal = TeacherSignal.of_logits(FIRST, SECOND)
    expected = ((FIRST / temperature).softmax(-1) + (SECOND / temperature).softmax(-1)) / 2
    torch.testing.assert_close(signal.probabilities(temperature), expected)
    with pytest.raises(ValueError, match="no logits"):
        _ = signal.logits


def test_an_ensemble_of_logits():
    signal = TeacherSignal.of_logits(FIRST, SECOND, ensembling="logits")
    torch.testing.assert_close(signal.logits, (FIRST + SECOND) / 2)
    torch.testing.assert_close(signal.probabilities(2.0), ((FIRST + SECOND) / 4).softmax(-1))


def test_half_precision_is_widened():
    assert TeacherSignal.of_logits(FIRST.half(), SECOND.half()).probabilities().dtype == torch.float32


def test_the_batch_form_survives_fairseqs_moves():
    soft = SoftTargets(
        torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 2, 1), torch.ones(1, 2, dtype=torch.bool)
    )
    first = ModelOutput(logits=FIRST, hidden_states={0: FIRST, 3: SECOND}, attention_scores={2: FIRST})
    signal = TeacherSignal((first, ModelOutput(logits=SECOND)), "logits", soft)
    moved = utils.apply_to_sample(lambda tensor: tensor + 0, {"teacher": signal.to_batch()})["teacher"]
    back = TeacherSignal.from_batch(moved)
    assert back.ensembling == "logits" and len(back.members) == 2
    torch.testing.assert_close(back.logits, signal.logits)
    kept = back.outputs[0]
    assert sorted(kept.hidden_states) == [0, 3] and torch.equal(kept.attention_scores[2], FIRST)
    assert back.hidden_states == {} and back.outputs[1].attention_mask is None  # an ensemble has none
    assert torch.equal(back.soft_targets.ids, soft.ids)


def test_soft_targets_alone_are_a_signal():
    """What the store puts into a batch."""
    soft = SoftTargets(
        torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 2, 1), torch.ones(1, 2, dtype=torch.bool)
    )
    signal = TeacherSignal.from_batch(soft.to_batch())
    assert signal.members == () and torch.equal(signal.soft_targets.logits, soft.logits)
