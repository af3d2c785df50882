"""What --help says about the settings of every criterion."""

import dataclasses
import re
import typing

import pytest

import fairseq_plugins  # noqa: F401 - registers all criteria
from cmlm_kd.api.registry import kd_criteria

SETTINGS = [
    (name, field, typing.get_type_hints(kd_criteria.get(name).config)[field.name])
    for name in kd_criteria
    if kd_criteria.get(name).cls.__module__.startswith("cmlm_kd.")
    for field in dataclasses.fields(kd_criteria.get(name).config)
]
RANGE = re.compile(r"in \[|in \(|above|at least|at most|or more|from \d")


@pytest.mark.parametrize(
    ("name", "field", "kind"), SETTINGS, ids=lambda value: getattr(value, "name", str(value))
)
def test_settings_are_explained_and_numbers_have_a_range(name, field, kind):
    text = field.metadata.get("help", "")
    assert len(text) > 10, f"{name}: {field.name}"
    if kind in (int, float):
        assert RANGE.search(text), f"{name}: --help of {field.name} names no range: {text!r}"


WITHOUT_TEACHER = {"bert_mlm", "cmlm", "sentence_classification"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in kd_criteria
        if kd_criteria.get(name).cls.__module__.startswith("cmlm_kd.") and name not in WITHOUT_TEACHER
    ],
)
def test_what_was_learnt_from_a_teacher_can_be_signed(name):
    part = kd_criteria.get(name).config().signature()
    assert re.fullmatch(rf"kd:{name.removesuffix('_kd')}(\|[A-Za-z]+:[^|]+)+", part), part
