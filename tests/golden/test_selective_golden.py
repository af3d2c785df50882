"""Batch- and global-level selection of the released code, value and gradient (provenance in the JSON)."""

import json
import math
from pathlib import Path

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.criteria.selective import SelectiveConfig, SelectiveKD

GOLDEN = json.loads((Path(__file__).parent / "selective_losses.json").read_text())
PAD, VOCABULARY = 1, 7
TARGET = torch.tensor([[4, 6, 2, PAD], [3, 5, 6, 2], [5, 2, PAD, PAD]])
SELECTIONS = {
    "batch_level": {"kd_selection": "batch", "kd_share": GOLDEN["rates"]["batch_level"]},
    "global_level": {
        "kd_selection": "global",
        "kd_share": GOLDEN["rates"]["global_level"],
        "kd_queue": GOLDEN["queue"],
        "kd_queue_mode": "original",
    },
}


def waves(phase, scale):
    steps = torch.arange(math.prod((*TARGET.shape, VOCABULARY)), dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(*TARGET.shape, VOCABULARY)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize("level", SELECTIONS)
def test_three_batches_in_a_row(level, implementation):
    config = SelectiveConfig(
        kd_alpha=1.0,
        kd_temperature=1.0,
        kd_topk=VOCABULARY,
        kd_combination="added",
        label_smoothing=0.1 * (VOCABULARY - 1) / VOCABULARY,  # the released code spreads 0.1 over all V
        **SELECTIONS[level],
    )
    criterion = SelectiveKD(config, PAD)
    for step, batch in enumerate(GOLDEN["batches"]):
        expected = batch[level]
        logits = waves(0.25 + step, 2.0 + step).requires_grad_()
        said, ids = waves(0.8 - step, 4.0).sort(dim=-1, descending=True)
        tail = torch.zeros(*TARGET.shape, 0, dtype=torch.float64)
        teacher = SoftTargets(ids, said, tail, torch.ones_like(TARGET, dtype=torch.bool), ())
        if implementation == "dense":
            student = ModelOutput(logits=logits)
        else:  # an identity as output embedding makes hidden states of logits
            student = ModelOutput(features=logits, weight=torch.eye(VOCABULARY, dtype=torch.float64))
        output = criterion.training_loss(student, TARGET, TeacherSignal(soft_targets=teacher))
        (gradient,) = torch.autograd.grad(output.loss, logits)
        assert output.counts["kd_tokens"] == expected["listening"]
        # Theirs is the divergence, ours the cross entropy: apart by the teacher's entropy where it is heard.
        assert output.loss.item() - expected["teacher_entropy"] == pytest.approx(expected["loss"], abs=1e-8)
        assert gradient.norm().item() == pytest.approx(expected["gradient_norm"], abs=1e-8)
        first = gradient[..., 0].sum().item()
        assert first == pytest.approx(expected["gradient_of_first_entry"], abs=1e-8)
