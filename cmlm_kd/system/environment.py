"""The environment: what this computer's CPU can do, and what results depend on besides their settings."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.version import __version__

if TYPE_CHECKING:
    import torch

FAIRSEQ_BUILDS = ("ve-fairseq", "fairseq", "fairseq-fixed", "fairseq-built")
"""Distributions that have the package fairseq."""
CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # the last is ARM's


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


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


def describe_environment(device: torch.device | str = "cpu") -> dict[str, str | int | float | bool]:
    """Return hardware, threads and library versions: with all of them equal, a dump repeats byte for byte."""
    import numpy
    import pyarrow
    import torch

    device = torch.device(device)
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "cmlm_kd": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
        "device": accelerator,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    """Return the model name of the CPU, where the system tells it."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or os.name
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
