"""What ``soft_target_kd`` refuses: settings out of range, teachers and decoders that cannot serve."""

import math

import pytest
import torch
from soft_target_batch import (
    LENGTH,
    SENTENCES,
    TARGET,
    VALID,
    VOCABULARY,
    Student,
    losses,
    make_criterion,
    random,
)

from cmlm_kd.api.signals import SoftTargets
from cmlm_kd.criteria.soft_target import SoftTargetConfig
from cmlm_kd.errors import UserError


@pytest.mark.parametrize(
    ("settings", "flag", "allowed"),
    [
        ({"kd_alpha": -0.1}, "--kd-alpha is -0.1", "it must be in [0, 1]"),
        ({"kd_alpha": 1.5}, "--kd-alpha is 1.5", "it must be in [0, 1]"),
        ({"kd_alpha": math.nan}, "--kd-alpha is nan", "it must be in [0, 1]"),
        ({"kd_temperature": 0.0}, "--kd-temperature is 0.0", "it must be above 0"),
        ({"kd_temperature": -1.0}, "--kd-temperature is -1.0", "it must be above 0"),
        ({"kd_topk": 0}, "--kd-topk is 0", "it must be at least 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing is 1.0", "it must be in [0, 1)"),
    ],
)
def test_values_out_of_range_are_refused(settings, flag, allowed):
    with pytest.raises(UserError) as error:
        SoftTargetConfig(**settings)
    assert flag in str(error.value) and allowed in str(error.value)


def test_more_entries_than_the_store_has_are_refused():
    with pytest.raises(
        UserError, match=r"--kd-topk is 4, but the teacher gives k = 3 .* --kd-topk 3 or less"
    ):
        losses(kd_topk=4)


def test_a_tail_that_the_store_lacks_is_refused():
    with pytest.raises(UserError, match=r"--kd-temperature 7; the store has it at: 1, 4; "):
        losses(kd_tail="bucket", kd_temperature=7.0)


def test_a_bucket_without_contents_is_refused():
    full = random(SENTENCES, LENGTH, VOCABULARY)
    ids = torch.arange(VOCABULARY).expand_as(full)
    teacher = SoftTargets(ids, full, torch.zeros(SENTENCES, LENGTH, 1), VALID, (4.0,))
    with pytest.raises(UserError, match="nothing outside a vocabulary of 9"):
        losses(kd_tail="bucket", kd_topk=VOCABULARY, teacher=teacher)


def test_training_without_any_teacher_is_refused():
    with pytest.raises(
        UserError, match="the training batch has no teacher; train with --task translation_kd --soft-targets"
    ):
        make_criterion().training_loss(Student().output("dense"), TARGET, None)


def test_fused_where_it_cannot_work_is_refused_and_auto_goes_round():
    assert make_criterion().wants_features(None)
    assert not make_criterion().wants_features("adaptive softmax")
    assert not make_criterion(kd_implementation="dense").wants_features(None)
    with pytest.raises(UserError, match="fused does not work here: adaptive softmax"):
        make_criterion(kd_implementation="fused").wants_features("adaptive softmax")
