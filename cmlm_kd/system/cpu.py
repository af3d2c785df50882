"""What this computer's CPU can do."""

from __future__ import annotations

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # the last is ARM's


def native_bfloat16(cpu_info: Path = CPU_INFO) -> tuple[str, ...] | None:
    """Return the flags of the CPU's own bfloat16 arithmetic: none where it has none, None where unknown.

    Args:
        cpu_info: what Linux says of its processors.
    """
    if not cpu_info.is_file():
        return None
    lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return tuple(flag for flag in _BFLOAT16_FLAGS if flag in flags)
