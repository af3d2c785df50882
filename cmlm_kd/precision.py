"""Arithmetic of reduced precision."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def bfloat16_autocast(enabled: bool, device: torch.device | str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which matrix products on the device run in bfloat16, or one that changes nothing.

    Args:
        enabled: which of the two.
        device: such as ``cpu`` or ``cuda:1``.
    """
    if not enabled:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)
