"""Devices to compute on, and bfloat16 on them."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import Any

import torch

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.environment import native_bfloat16

logger = logging.getLogger(__name__)


def bfloat16_autocast(enabled: bool, device: torch.device | str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which matrix products on the device run in bfloat16, or one that changes nothing.

    Warns, once, of a CPU that is slower so.

    Args:
        enabled: which of the two.
        device: such as ``cpu`` or ``cuda:1``.
    """
    if not enabled:
        return contextlib.nullcontext()
    kind = torch.device(device).type
    if kind == "cpu":
        _warn_of_slow_cpu()
    return torch.autocast(kind, torch.bfloat16)


def autocast_pays(device: torch.device | str) -> bool:
    """Return whether to choose bfloat16 autocast: on GPUs, and on CPUs known to have that arithmetic."""
    return torch.device(device).type != "cpu" or bool(native_bfloat16())


@functools.cache
def _warn_of_slow_cpu() -> None:
    if native_bfloat16() == ():
        logger.warning(
            "this CPU has no bfloat16 arithmetic of its own: --bf16-autocast makes it several times slower "
            "than float32; leave the flag out"
        )


def check_device(name: str) -> None:
    """Refuse a device that this machine, or this PyTorch, does not have.

    Args:
        name: as torch names it.

    Raises:
        UserError: naming the device and what torch says of it.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device is {name!r}, which torch can't use ({first_line(error)}); give cpu, or cuda where "
            "there is a GPU"
        ) from error
