"""Arrays of files: of the type and shape that they should have, without pickles, or one line."""

import pickle

import numpy as np
import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.system.arrays import check_finite, read_array


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    return tmp_path / "a.npy"


def refusal(path, kind=np.float32, shape=(3, 2)):
    with pytest.raises(UserError) as refused:
        read_array(path, kind, shape, "make it again")
    message = str(refused.value)
    assert message.startswith(str(path)) and message.endswith("; make it again") and "\n" not in message
    return message


def test_an_array_comes_back(path, tmp_path):
    assert read_array(path, np.float32, (None, 2), "").tolist() == [[0, 1], [2, 3], [4, 5]]
    np.save(tmp_path / "empty.npy", np.empty((0, 2), np.float32))
    assert read_array(tmp_path / "empty.npy", np.float32, (None, 2), "").shape == (0, 2)


def test_other_types_and_shapes(path):
    assert "is damaged (float32 of shape (3, 2), it should be float64 of (any, 2))" in refusal(
        path, np.float64, (None, 2)
    )
    assert "it should be float32 of (3, 3))" in refusal(path, shape=(3, 3))
    assert "it should be float32 of (6))" in refusal(path, shape=(6,))


def test_what_is_no_array(path, tmp_path):
    whole = path.read_bytes()
    forged = whole.replace(b"(3, 2), }         ", b"(9000000000, 2), }")
    assert len(forged) == len(whole) and forged != whole
    wrong = [b"", whole[:5], whole[:90], whole[:-1], pickle.dumps([1]), whole.replace(b"'descr'", b"'descx'")]
    for content in [*wrong, forged]:
        path.write_bytes(content)
        assert "is damaged (no array: " in refusal(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "is damaged (no array: " in refusal(path)
    assert "is missing" in refusal(tmp_path / "none.npy")


def test_numbers_that_are_not_finite(path):
    array = read_array(path, np.float32, (3, 2), "").copy()
    check_finite(path, array, "")
    array[2, 0] = np.nan
    with pytest.raises(UserError, match=r"a\.npy has a number that is not finite in row 2; make it again"):
        check_finite(path, array, "make it again")
