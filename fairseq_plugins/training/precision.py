"""``--bf16-autocast``: bfloat16 arithmetic with float32 weights, on CPU and GPU alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.optim import AMPOptimizer, FairseqOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.tasks import FairseqTask
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.system.devices import bfloat16_autocast
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.command_line.user_errors import without_crash_file


@dataclass
class PrecisionConfig(PluginConfig):
    """The flag ``--bf16-autocast``, and what fairseq's own flags of precision say."""

    bf16_autocast: bool = field(
        default=False,
        metadata={"help": "compute in bfloat16 where it is safe; weights and loss stay float32"},
    )
    tpu: bool = II("common.tpu")
    fp16: bool = II("common.fp16")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")


LoggingOutput = dict[str, Any]
"""What a criterion says of a batch: sums and counts under their names."""

StepResult = tuple[torch.Tensor, Any, LoggingOutput]
"""Loss, sample size and what is logged."""


class AutocastMixin(FairseqTask):
    """Runs a task's criterion under autocast if its config says ``bf16_autocast``; backward stays outside."""

    cfg: PrecisionConfig

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
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

    def _autocasting(self, criterion: FairseqCriterion, model: BaseFairseqModel) -> Callable[..., Any]:
        device = next(model.parameters()).device

        def call(*args: Any, **kwargs: Any) -> Any:
            with bfloat16_autocast(self.cfg.bf16_autocast, device):
                return criterion(*args, **kwargs)

        return call

    @without_crash_file()
    def train_step(
        self,
        sample: dict[str, Any],
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
    ) -> StepResult:
        """Forward under autocast, backward as ever; returns loss, sample size and what is logged."""
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

    def before_step(self, sample: dict[str, Any], criterion: FairseqCriterion) -> None:
        """Add to a training batch what depends on the update that has begun; nothing here."""

    def valid_step(
        self, sample: dict[str, Any], model: BaseFairseqModel, criterion: FairseqCriterion
    ) -> StepResult:
        """Evaluate under the arithmetic of training."""
        return super().valid_step(sample, model, self._autocasting(criterion, model))
