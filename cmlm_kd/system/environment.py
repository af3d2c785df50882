"""What a store's bytes depend on besides its settings."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy
import pyarrow
import torch

from cmlm_kd.version import __version__


def describe_environment(device: torch.device | str = "cpu") -> dict[str, str | int | float | bool]:
    """Return hardware, threads and library versions: with all of them equal, a dump repeats byte for byte."""
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
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or os.name
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
