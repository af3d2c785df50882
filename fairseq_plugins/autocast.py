"""``--bf16-autocast``: bfloat16 arithmetic with float32 weights, on CPU and GPU alike."""

from dataclasses import dataclass, field

import torch
from fairseq import utils
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.system.devices import bfloat16_autocast
from fairseq_plugins.user_errors import without_crash_file


@dataclass
class PrecisionConfig(FairseqDataclass):
    """The flag ``--bf16-autocast``, and what fairseq's own flags of precision say."""

    bf16_autocast: bool = field(
        default=False,
        metadata={"help": "compute in bfloat16 where it is safe; weights and loss stay float32"},
    )
    tpu: bool = II("common.tpu")
    fp16: bool = II("common.fp16")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")


class AutocastMixin:
    """Runs a task's criterion under autocast if its config says ``bf16_autocast``; backward stays outside."""

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the criterion, before the trainer would fail on a precision it cannot have here."""
        # "is True": settings of a checkpoint may still be interpolations.
        if self.cfg.tpu is True and utils.xm is None:
            raise UserError(
                "--bf16 stands for a TPU in fairseq-train, on a machine with a GPU too, and needs torch_xla, "
                "which is not installed; pass --bf16-autocast instead"
            )
        flat = not (self.cfg.memory_efficient_fp16 is True or self.cfg.fp16_no_flatten_grads is True)
        if self.cfg.fp16 is True and flat and not torch.cuda.is_available():
            raise UserError(
                "--fp16 makes fairseq gather gradients on a GPU, and there is none; "
                "pass --fp16-no-flatten-grads as well, or --bf16-autocast instead"
            )
        return super().build_criterion(cfg, from_checkpoint)

    def _autocasting(self, criterion, model):
        device = next(model.parameters()).device

        def call(*args, **kwargs):
            with bfloat16_autocast(self.cfg.bf16_autocast, device):
                return criterion(*args, **kwargs)

        return call

    @without_crash_file()
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """Forward under autocast, backward as ever."""
        if self.cfg.bf16_autocast and isinstance(
            optimizer, AMPOptimizer | FP16Optimizer | MemoryEfficientFP16Optimizer
        ):
            raise UserError(
                "--bf16-autocast keeps the weights in float32, which --fp16, --bf16 and --amp don't; "
                "give one of the four"
            )
        if hasattr(criterion, "begin_update"):
            criterion.begin_update(update_num, optimizer)
        self.before_step(sample, criterion)
        wrapped = self._autocasting(criterion, model)
        return super().train_step(sample, model, wrapped, optimizer, update_num, ignore_grad)

    def before_step(self, sample, criterion):
        """Add to a training batch what depends on the update that has begun; nothing here."""

    def valid_step(self, sample, model, criterion):
        """Evaluate under the arithmetic of training."""
        return super().valid_step(sample, model, self._autocasting(criterion, model))
