"""The end of a training whose loss or weights are not finite: the batch is kept, such weights are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import utils as distributed_utils
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import write_checkpoint
from fairseq_plugins.training.precision import LoggingOutput, StepResult

REMEDY = (
    "go on from the last one with a lower --lr, more --warmup-updates, a --clip-norm, or without "
    "--bf16-autocast"
)


class FiniteLossMixin(FairseqTask):
    """Looks at every loss of a task before its backward; stands behind mixins that wrap the criterion.

    A finite loss can still have gradients that break the weights, which the next loss would show; a
    checkpoint that is due before it is not written. The task's config has ``save_dir``.
    """

    _watched: BaseFairseqModel | None = None

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the model whose weights are looked at."""
        self._watched = super().build_model(cfg, from_checkpoint)
        return self._watched

    def state_dict(self) -> dict[str, Any]:
        """Return the task's part of a checkpoint, before anything of which is written.

        Raises:
            UserError: naming the first of the weights that are not finite.
        """
        for name, weight in [] if self._watched is None else self._watched.named_parameters():
            if not torch.isfinite(weight).all():
                raise UserError(
                    f"{self.cfg._name}: an update has left {name} with numbers that are not finite, and no "
                    f"checkpoint is made of them: {REMEDY}"
                )
        return super().state_dict()

    def train_step(
        self,
        sample: dict[str, Any],
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
    ) -> StepResult:
        """Train, unless the loss is not finite.

        Raises:
            UserError: naming the terms that are not finite and the file that has the batch.
        """

        def watched(*args: Any, **kwargs: Any) -> StepResult:
            loss, size, logged = criterion(*args, **kwargs)
            if not torch.isfinite(loss):
                self._stop(loss, logged, sample, update_num + 1)
            return loss, size, logged

        return super().train_step(sample, model, watched, optimizer, update_num, ignore_grad)

    def _stop(self, loss: Tensor, logged: LoggingOutput, sample: dict[str, Any], update: int) -> None:
        name = self.cfg._name
        several = distributed_utils.get_data_parallel_world_size() > 1
        worker = distributed_utils.get_data_parallel_rank() if several else 0
        path = Path(self.cfg.save_dir) / f"nonfinite-update{update}-worker{worker}.pt"
        inputs = {key: value.cpu() for key, value in sample["net_input"].items() if isinstance(value, Tensor)}
        terms = {key[5:]: float(value) for key, value in logged.items() if key.startswith("term:")}
        rows = {key: sample[key].cpu() for key in ("id", "target") if isinstance(sample.get(key), Tensor)}
        kept = {"update": update, **rows, **inputs}
        write_checkpoint({**kept, "terms": terms}, path)
        wrong = [term for term, value in terms.items() if value - value != 0]
        raise UserError(
            f"{name}: the loss of update {update} is {float(loss)} (not finite: "
            f"{', '.join(wrong) or 'the sum'}); the batch is in {path}, and checkpoints are as they were: "
            f"{REMEDY}"
        )
