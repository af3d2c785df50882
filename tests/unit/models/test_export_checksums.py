"""Checksums of exported directories."""

import pytest

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.models.export_checksums import note_checksums, renew_checksum, verify_export


@pytest.fixture
def exported(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    note_checksums(tmp_path)
    return tmp_path


def test_a_changed_file(exported, capsys):
    assert main(["verify", str(exported)]) == 0
    assert "an exported model, every byte is as it was written" in capsys.readouterr().out
    (exported / "model.safetensors").write_bytes(b"wEights")
    assert main(["verify", str(exported)]) == 2
    assert "model.safetensors is damaged (checksum" in capsys.readouterr().err
    (exported / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing; export the checkpoint again"):
        verify_export(exported)


def test_checksums_of_nothing(exported):
    (exported / "checksums.json").write_text('{"checksums": {}}')
    with pytest.raises(UserError, match=r"checksums\.json is damaged \(it names no file\)"):
        verify_export(exported)


def test_a_calibrated_threshold_is_a_change_of_ours(exported):
    (exported / "config.json").write_text('{"speed": 0.5}')
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        verify_export(exported)
    renew_checksum(exported, "config.json")
    verify_export(exported)


def test_nothing_is_renewed_where_nothing_was_noted(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    renew_checksum(tmp_path, "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
