"""Several processes that are one training, and several that only look like it.

fairseq takes its processes from ``torchrun`` where it counts more than one GPU. Where it counts none or one,
it looks at nothing that torchrun says: each process trains a copy of its own, into the same ``--save-dir``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import fairseq.distributed.utils
import torch
from fairseq.distributed import utils as distributed_utils
from omegaconf import DictConfig

from cmlm_kd.errors import UserError

LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")
"""Variables that torchrun sets, and fairseq reads."""


def check_processes() -> None:
    """Let every command of fairseq look at whether it was started as one of several processes."""
    infer = fairseq.distributed.utils.infer_init_method

    @functools.wraps(infer)
    def infer_checked(cfg: DictConfig, *passed: Any, **named: Any) -> Any:
        refuse_copies(cfg)
        return infer(cfg, *passed, **named)

    fairseq.distributed.utils.infer_init_method = infer_checked


def refuse_copies(cfg: DictConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse to be one of several processes that would do the same thing side by side.

    Args:
        cfg: settings of the distributed training, before fairseq has completed them.
        environment: what a launcher has said.

    Raises:
        UserError: naming the flags that make one training of the processes.
    """
    if cfg.distributed_init_method is not None or not all(name in environment for name in LAUNCHED):
        return
    count = int(environment["WORLD_SIZE"])
    if count == 1:
        return
    if not torch.cuda.is_available():
        raise UserError(
            f"torchrun has started {count} processes, of which fairseq makes one training on GPUs alone: "
            f"without it, start {count} yourself, each with --cpu --distributed-world-size {count} "
            "--distributed-rank R --distributed-init-method tcp://HOST:PORT --distributed-no-spawn "
            "--distributed-backend gloo --ddp-backend legacy_ddp --device-id 0"
        )
    if cfg.distributed_world_size == 1:
        raise UserError(
            f"torchrun has started {count} processes, and fairseq would train {count} copies: add "
            f"--distributed-world-size {count}"
        )


def by_first_worker(write: Callable[[], None]) -> None:
    """Let the first of a training's workers write what all of them read; the others wait for it."""
    several = distributed_utils.get_data_parallel_world_size() > 1
    if not several or distributed_utils.get_data_parallel_rank() == 0:
        write()
    if several:
        torch.distributed.barrier()
