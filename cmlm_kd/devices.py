"""Where to compute."""

from __future__ import annotations

import torch

from cmlm_kd.errors import UserError, first_line


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
