"""Which devices get bfloat16 autocast, and the warning about CPUs that it slows down."""

import logging

import pytest
import torch

from cmlm_kd.system import devices as precision
from cmlm_kd.system.environment import native_bfloat16


@pytest.fixture
def cpu(monkeypatch):
    """Let the CPU have some flags, or be unknown (None)."""

    def has(flags):
        monkeypatch.setattr(precision, "native_bfloat16", lambda: flags)
        precision._warn_of_slow_cpu.cache_clear()

    yield has
    precision._warn_of_slow_cpu.cache_clear()


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: sse4 avx512_bf16 amx_bf16\n", ("avx512_bf16", "amx_bf16")),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", ("bf16",)),
        ("processor\t: 0\nflags\t\t: sse4 avx2\n", ()),
        ("", ()),
    ],
)
def test_flags_of_a_cpu(tmp_path, text, flags):
    assert native_bfloat16(tmp_path / "none") is None
    (tmp_path / "cpuinfo").write_text(text)
    assert native_bfloat16(tmp_path / "cpuinfo") == flags


@pytest.mark.parametrize(
    ("flags", "pays", "warnings"), [(("amx_bf16",), True, 0), ((), False, 1), (None, False, 0)]
)
def test_autocast_on_a_cpu(cpu, caplog, flags, pays, warnings):
    cpu(flags)
    assert precision.autocast_pays("cpu") is pays and precision.autocast_pays("cuda:1") is True
    with caplog.at_level(logging.WARNING):
        with precision.bfloat16_autocast(False, "cpu"):
            assert not torch.is_autocast_enabled("cpu")
        assert not caplog.records
        for _ in range(2):
            with precision.bfloat16_autocast(True, "cpu"):
                assert torch.is_autocast_enabled("cpu")
    assert len(caplog.records) == warnings
    assert all("leave the flag out" in record.message for record in caplog.records)
