"""A batch for ``soft_target_kd``: a student, its teacher's soft targets, and the loss of both forms."""

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD

PAD, SENTENCES, LENGTH, WIDTH, VOCABULARY, TOP_K = 1, 3, 4, 5, 9, 3
TEMPERATURES = (1.0, 4.0)
TARGET = torch.tensor([[4, 7, 2, 8], [3, 5, 2, PAD], [6, 2, PAD, PAD]])
VALID = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)  # the last has no row


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_teacher(valid=VALID, repeated=False):
    """Soft targets cut from full teacher distributions, so that their tails are true."""
    full = 3 * random(SENTENCES, LENGTH, VOCABULARY, seed=1)
    logits, ids = full.sort(dim=-1, descending=True)
    tail = torch.stack([(logits[..., TOP_K:] / t).logsumexp(-1) for t in TEMPERATURES], dim=-1)
    ids = ids[..., :TOP_K].clone()
    if repeated:
        ids[..., 2] = ids[..., 0]
    return SoftTargets(ids.to(torch.int32), logits[..., :TOP_K], tail, valid, TEMPERATURES)


class Student:
    """Hidden states and an output layer; gives logits to the dense form and itself to the fused one."""

    def __init__(self, bias=True, scale=1.0):
        self.features = (scale * random(SENTENCES, LENGTH, WIDTH, seed=2)).requires_grad_()
        self.weight = random(VOCABULARY, WIDTH, seed=3).requires_grad_()
        self.bias = random(VOCABULARY, seed=4).requires_grad_() if bias else None

    def logits(self):
        return self.features @ self.weight.t() + (0.0 if self.bias is None else self.bias)

    def output(self, implementation):
        if implementation == "dense":
            return ModelOutput(logits=self.logits())
        return ModelOutput(features=self.features, weight=self.weight, bias=self.bias)

    def gradients(self, loss):
        inputs = [value for value in (self.features, self.weight, self.bias) if value is not None]
        return torch.autograd.grad(loss, inputs, retain_graph=True)


def make_criterion(**settings):
    return SoftTargetKD(SoftTargetConfig(**{"kd_topk": TOP_K, "kd_temperature": 4.0, **settings}), PAD)


def losses(student=None, target=TARGET, teacher=None, **settings):
    """Dense and fused loss, shown equal, as one number."""
    student, criterion = student or Student(), make_criterion(**settings)
    dense, fused = (
        criterion.training_loss(
            student.output(form), target, TeacherSignal(soft_targets=teacher or make_teacher())
        ).loss.item()
        for form in ("dense", "fused")
    )
    assert fused == pytest.approx(dense)
    return fused
