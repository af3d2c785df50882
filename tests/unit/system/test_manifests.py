"""The reader of manifests: values of their types, or one line that names file, field and value."""

import json
from dataclasses import dataclass, field

import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.system.manifests import SEAL, read_manifest, read_object, write_manifest


@dataclass(frozen=True)
class Part:
    rows: int
    share: float = 0.5


@dataclass(frozen=True)
class Whole:
    name: str
    parts: list[Part]
    more: dict[str, int] = field(default_factory=dict)


GOOD = {"name": "ä", "parts": [{"rows": 3, "share": 1}], "more": {"a": 1}, "new": None}


def refusal(path):
    with pytest.raises(UserError) as refused:
        read_manifest(path, Whole, "make it again", owner="thing: ")
    message = str(refused.value)
    assert message.startswith(f"thing: {path} ") and message.endswith("; make it again")
    assert "\n" not in message
    return message


def test_a_manifest_comes_back(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, GOOD)
    assert read_manifest(path, Whole, "") == Whole("ä", [Part(3, 1.0)], {"a": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {**GOOD, SEAL: read_object(path, "")[SEAL]}
    path.write_text(json.dumps(GOOD))  # of an earlier release
    assert read_manifest(path, Whole, "").more == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Invalid JSON: Expecting value"),
        (b'{"name": ', "Invalid JSON: Expecting value"),
        (b"\xff", "Invalid JSON: 'utf-8' codec"),
        (b"[" * 100_000, "Invalid JSON: "),
        (b"[]", "the file is [], it should be an object"),
        (b"3", "the file is 3, it should be an object"),
        (b"{}", "name is missing"),
        (json.dumps({**GOOD, "name": 5}).encode(), "name is 5, it should be a valid string"),
        (json.dumps({**GOOD, "parts": {}}).encode(), "parts is {}, it should be a valid"),
        (
            json.dumps({**GOOD, "parts": [{"rows": "3"}]}).encode(),
            'parts.0.rows is "3", it should be',
        ),
        (json.dumps({**GOOD, "parts": [{"rows": True}]}).encode(), "parts.0.rows is true, it should be"),
        (json.dumps({**GOOD, "parts": [{}]}).encode(), "parts.0.rows is missing"),
        (json.dumps({**GOOD, "more": {"a": "\ud800"}}).encode(), "Invalid JSON: "),
    ],
)
def test_what_is_no_such_manifest(tmp_path, text, reason):
    path = tmp_path / "manifest.json"
    path.write_bytes(text)
    assert f"is damaged ({reason}" in refusal(path)


def test_a_manifest_that_is_missing_or_a_folder(tmp_path):
    assert "is missing" in refusal(tmp_path / "none.json")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


def test_every_changed_value_is_noticed(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, GOOD)
    text = path.read_text(encoding="utf-8")
    for old, new in (('"rows": 3', '"rows": 2'), ("ä", "a"), ('"a": 1', '"b": 1'), ("null", "0")):
        path.write_text(text.replace(old, new), encoding="utf-8")
        assert "something in it was changed" in refusal(path)


def test_a_checksum_whose_name_has_changed_is_no_checksum_of_an_earlier_release(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(path, GOOD)
    path.write_text(
        path.read_text(encoding="utf-8").replace("manifest_sha256", "manifeqt_sha256"), encoding="utf-8"
    )
    assert 'its entry "manifeqt_sha256" was manifest_sha256' in refusal(path)
