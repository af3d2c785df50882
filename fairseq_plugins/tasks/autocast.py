"""``--bf16-autocast``: bfloat16 arithmetic with float32 weights, on CPU and GPU alike."""

import contextlib

import torch
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer

from cmlm_kd.errors import UserError


def bfloat16_autocast(enabled: bool, device_type: str):
    """Return a context in which matrix products run in bfloat16 if ``enabled``."""
    return torch.autocast(device_type, torch.bfloat16) if enabled else contextlib.nullcontext()


class AutocastMixin:
    """Runs a task's criterion under autocast if its config says ``bf16_autocast``; backward stays outside."""

    def _autocasting(self, criterion, model):
        device_type = next(model.parameters()).device.type

        def call(*args, **kwargs):
            with bfloat16_autocast(self.cfg.bf16_autocast, device_type):
                return criterion(*args, **kwargs)

        return call

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """Forward under autocast, backward as ever."""
        if self.cfg.bf16_autocast and isinstance(
            optimizer, AMPOptimizer | FP16Optimizer | MemoryEfficientFP16Optimizer
        ):
            raise UserError(
                "--bf16-autocast keeps the weights in float32, which --fp16, --bf16 and --amp don't; "
                "give one of the four"
            )
        wrapped = self._autocasting(criterion, model)
        return super().train_step(sample, model, wrapped, optimizer, update_num, ignore_grad)

    def valid_step(self, sample, model, criterion):
        """Evaluate under the arithmetic of training."""
        return super().valid_step(sample, model, self._autocasting(criterion, model))
