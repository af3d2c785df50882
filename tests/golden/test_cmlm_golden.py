"""The student loss of the original C-MLM code, value and gradient (provenance in cmlm_student_loss.json)."""

import json
import math
from pathlib import Path

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD

ROWS = json.loads((Path(__file__).parent / "cmlm_student_loss.json").read_text())["rows"]
PAD, VOCABULARY, TOKENS = 1, 11, 7


def waves(shape, phase, scale):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"T={row['temperature']}-alpha={row['alpha']}")
def test_value_and_gradient(row, implementation):
    logits = waves((2, 4, VOCABULARY), 0.25, 2).requires_grad_()
    teacher = SoftTargets(
        ids=((5 * torch.arange(24) + 2) % VOCABULARY).reshape(2, 4, 3),
        logits=waves((2, 4, 3), 0.8, 4),
        tail=torch.zeros(2, 4, 0, dtype=torch.float64),
        valid=torch.ones(2, 4, dtype=torch.bool),
        tail_temperatures=(),
    )
    target = torch.tensor([[4, 7, 2, PAD], [9, 5, 6, 2]])
    config = SoftTargetConfig(
        kd_alpha=row["alpha"],
        kd_temperature=row["temperature"],
        kd_topk=3,
        label_smoothing=row["label_smoothing"],
        label_smoothing_mode="original",
    )
    if implementation == "dense":
        student = ModelOutput(logits=logits)
    else:  # an identity as output embedding makes hidden states of logits
        student = ModelOutput(features=logits, weight=torch.eye(VOCABULARY, dtype=torch.float64))
    loss = (
        SoftTargetKD(config, PAD).training_loss(student, target, TeacherSignal(soft_targets=teacher)).loss
        / TOKENS
    )
    loss.backward()
    assert loss.item() == pytest.approx(row["loss"], abs=1e-8)
    assert logits.grad.norm().item() == pytest.approx(row["gradient_norm"], abs=1e-8)
