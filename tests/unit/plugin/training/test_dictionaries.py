import pytest
from fairseq.data import Dictionary

import fairseq_plugins  # noqa: F401  (what it does is tested)
from cmlm_kd.errors import UserError


@pytest.mark.parametrize("content", [b"a 1\nno-count\n", b"a 1\na 1\n", b"a 1\nb \xff\n", b"w" * 100_000])
def test_a_file_that_is_no_dictionary_is_named(tmp_path, content):
    path = tmp_path / "dict.de.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        Dictionary.load(str(path))
    assert str(refused.value).startswith(f"{path} is no dictionary (")
    assert str(refused.value).endswith("; write the data again with 'cmlm-kd prepare'")
    assert len(str(refused.value)) < 400 + len(str(path))


def test_a_dictionary_is_read_as_before(tmp_path):
    path = tmp_path / "dict.de.txt"
    path.write_text("a 3\nb 1\n")
    assert Dictionary.load(str(path)).symbols[-2:] == ["a", "b"]
    with pytest.raises(FileNotFoundError):
        Dictionary.load(str(tmp_path / "gone.txt"))
