"""Layer maps: the papers' own, any depth pair, and refusals."""

import pytest

from cmlm_kd.criteria.layers import LayerMap, layer_map
from cmlm_kd.errors import UserError


def teacher_layers(text, student, teacher, learning=None):
    return layer_map(text, student, teacher, learning=learning, owner="pkd").teacher


@pytest.mark.parametrize(
    ("text", "student", "teacher", "learning", "expected"),
    [
        ("skip", 6, 12, 5, (2, 4, 6, 8, 10)),
        ("last", 6, 12, 5, (7, 8, 9, 10, 11)),
        ("skip", 3, 12, 2, (4, 8)),
        ("last", 3, 12, 2, (10, 11)),
        ("uniform", 4, 12, None, (3, 6, 9, 12)),
        ("uniform", 6, 12, None, (2, 4, 6, 8, 10, 12)),
        ("last", 4, 12, None, (9, 10, 11, 12)),
        ("uniform", 12, 12, None, tuple(range(1, 13))),
    ],
)
def test_the_papers_maps(text, student, teacher, learning, expected):
    assert teacher_layers(text, student, teacher, learning) == expected


@pytest.mark.parametrize("text", ["uniform", "skip", "last"])
def test_rules_serve_any_depth_pair(text):
    for teacher in range(1, 26):
        for student in range(1, teacher + 1):
            chosen = teacher_layers(text, student, teacher)
            assert chosen[-1] == teacher and chosen[0] >= 1
            assert list(chosen) == sorted(set(chosen)) and len(chosen) == student


def test_uniform_takes_the_nearest_layer():
    assert teacher_layers("uniform", 5, 12) == (2, 5, 7, 10, 12)  # 2.4, 4.8, 7.2, 9.6, 12


def test_explicit_list_and_pairs():
    assert list(layer_map("1,5,5,12", 4, 12, owner="x")) == [(1, 1), (2, 5), (3, 5), (4, 12)]
    assert layer_map("[2, 4]", 2, 4, owner="x") == LayerMap((1, 2), (2, 4))
    assert layer_map("4:12, 2:6", 4, 12, owner="x") == LayerMap((2, 4), (6, 12))
    assert teacher_layers("1,1,2", 3, 2) == (1, 1, 2)  # deeper than the teacher, but said so


@pytest.mark.parametrize(
    ("text", "student", "teacher", "learning", "message"),
    [
        ("uniform", 6, 4, None, "deeper than its teacher"),
        ("last", 6, 4, 5, "such as 1,2,3,4,4"),
        ("skip", 1, 12, 0, "no layer of the student would learn"),
        ("3,6,9", 4, 12, None, "names 3 teacher layers, 4 layers of the student learn"),
        ("3,6,9,13", 4, 12, None, "teacher layer 13 is not in 1 to 12"),
        ("0,6,9,12", 4, 12, None, "teacher layer 0 is not in 1 to 12"),
        ("5:6", 4, 12, None, "student layer 5 is not in 1 to 4"),
        ("2:6,2:12", 4, 12, None, "named twice"),
        ("2:6,12", 4, 12, None, "cannot be read"),
        ("1:2:3", 4, 12, None, "cannot be read"),
        ("", 4, 12, None, "cannot be read"),
        ("unifrom", 4, 12, None, "uniform, skip, last"),
    ],
)
def test_refusals_name_both_depths(text, student, teacher, learning, message):
    with pytest.raises(UserError) as refusal:
        layer_map(text, student, teacher, learning=learning, owner="pkd")
    assert message in str(refusal.value)
    assert f"a student of {student} and a teacher of {teacher} layers" in str(refusal.value)
