"""A new source of a signal is one class: what this file defines, and nothing else, trains a student."""

import pytest
import torch

from cmlm_kd.api import (
    NOTHING_ELSE,
    SOFT_TARGETS,
    ModelDescription,
    ModelOutput,
    NamedSource,
    SoftTargets,
    TeacherBatch,
    TeacherSignal,
    TrainingSet,
)
from cmlm_kd.api.registry import Registry
from cmlm_kd.api.sources import named_source
from cmlm_kd.criteria.soft_target import SoftTargetConfig, SoftTargetKD
from cmlm_kd.errors import UserError

VOCABULARY, PADDING = 9, 0
TARGET = torch.tensor([[4, 5, 2, PADDING], [6, 7, 8, 2]])  # (B, T)


class Gold(NamedSource):
    """A teacher that runs beside the student and is sure of the gold entry."""

    def __init__(self, k):
        self.k = k

    @classmethod
    def from_argument(cls, argument, training_set):
        if not argument.isdigit():
            raise UserError(f"gold: {argument!r} is no number of entries; pass gold=K")
        return cls(min(int(argument), training_set.vocabulary))

    @property
    def description(self):
        return ModelDescription(
            "gold", frozenset({SOFT_TARGETS}), vocabulary=VOCABULARY, topk=self.k, tail_temperatures=(1.0,)
        )

    def signal(self, batch, request=NOTHING_ELSE, *, dropout=False):
        k = self.k if request.topk is None else request.topk
        ids = (batch.target.unsqueeze(-1) + torch.arange(k)) % VOCABULARY  # (B, T, k), the gold one first
        logits = torch.zeros(ids.shape).index_fill_(-1, torch.tensor([0]), 50.0)
        tail = torch.full((*ids.shape[:2], 1), -50.0)
        return TeacherSignal(soft_targets=SoftTargets(ids, logits, tail, batch.target != batch.padding_idx))


TRAINING_SET = TrainingSet(data=None, split="train", vocabulary=VOCABULARY, padding_idx=PADDING)


@pytest.fixture
def registered(monkeypatch):
    sources = Registry("signal source", NamedSource)
    sources.register("gold")(Gold)
    monkeypatch.setattr("cmlm_kd.api.sources.signal_sources", sources)


def test_an_existing_criterion_trains_on_a_new_source(registered):
    source = named_source("gold=3", TRAINING_SET)
    criterion = SoftTargetKD(SoftTargetConfig(kd_alpha=1.0, kd_topk=3, kd_temperature=1.0), PADDING)
    criterion.check_teacher(source.description.topk, source.description.tail_temperatures)
    logits = torch.zeros(2, 4, VOCABULARY, requires_grad=True)
    optimizer, losses = torch.optim.SGD([logits], lr=1.0), []
    for _ in range(5):
        batch = TeacherBatch(torch.tensor([7, 3]), target=TARGET, padding_idx=PADDING)
        output = criterion.training_loss(ModelOutput(logits=logits), TARGET, source.signal(batch))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    real = int((TARGET != PADDING).sum())
    assert losses[0] == pytest.approx(real * torch.tensor(float(VOCABULARY)).log().item(), rel=1e-5)
    assert losses == sorted(losses, reverse=True)
    validation = criterion.validation_loss(ModelOutput(logits=logits), TARGET)
    assert validation.loss.item() < losses[-1]


def test_a_source_that_cannot_serve_is_refused_before_training(registered):
    given = named_source("gold=2", TRAINING_SET).description
    with pytest.raises(UserError, match="--kd-topk is 3, but the teacher gives k = 2"):
        SoftTargetKD(SoftTargetConfig(kd_topk=3), PADDING).check_teacher(given.topk, given.tail_temperatures)


def test_what_names_no_source_is_a_path(registered):
    assert named_source("stores/gold", TRAINING_SET) is None
    assert named_source("silver=3", TRAINING_SET) is None
    with pytest.raises(UserError, match="gold: 'three' is no number of entries"):
        named_source("gold=three", TRAINING_SET)
