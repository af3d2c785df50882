"""The end of a training whose loss, gradients or weights are not finite; the batch is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import utils as distributed_utils
from fairseq.models import BaseFairseqModel
from fairseq.optim import AMPOptimizer, FairseqOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.tasks import FairseqTask

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import write_checkpoint
from fairseq_plugins.training.precision import StepResult

REMEDY = (
    "go on from the last one with a lower --lr, more --warmup-updates, a --clip-norm, or without "
    "--bf16-autocast"
)


class FiniteLossMixin(FairseqTask):
    """Looks at every loss of a task and at its gradients; stands behind mixins that wrap the criterion.

    fairseq would write the whole training into ``crash.pt`` and run the batch again to find out what is
    wrong, which fails in most models. Under ``--fp16`` and ``--amp`` it scales losses until gradients are
    finite, and nothing is looked at here but the weights. The task's config has ``save_dir``.
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
            UserError: naming the terms or gradients that are not finite and the file that has the batch.
        """
        if isinstance(optimizer, AMPOptimizer | FP16Optimizer | MemoryEfficientFP16Optimizer):
            return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

        def watched(*args: Any, **kwargs: Any) -> StepResult:
            loss, size, logged = criterion(*args, **kwargs)
            if not torch.isfinite(loss):
                terms = {key[5:]: float(value) for key, value in logged.items() if key.startswith("term:")}
                wrong = [term for term, value in terms.items() if value - value != 0]
                what = f"the loss of update {update_num + 1} is {float(loss)}"
                self._stop(f"{what} (not finite: {', '.join(wrong) or 'the sum'})", terms, sample, update_num)
            return loss, size, logged

        result = super().train_step(sample, model, watched, optimizer, update_num, ignore_grad)
        name = _first_not_finite(model)
        if name is not None:
            what = f"the gradient of {name} in update {update_num + 1} is not finite, although the loss is"
            self._stop(what, {}, sample, update_num)
        return result

    def _stop(self, what: str, terms: dict[str, float], sample: dict[str, Any], update_num: int) -> None:
        """Keep the batch and end the training."""
        several = distributed_utils.get_data_parallel_world_size() > 1
        worker = distributed_utils.get_data_parallel_rank() if several else 0
        path = Path(self.cfg.save_dir) / f"nonfinite-update{update_num + 1}-worker{worker}.pt"
        tensors = {**sample["net_input"], **{key: sample[key] for key in ("id", "target") if key in sample}}
        kept = {key: value.cpu() for key, value in tensors.items() if torch.is_tensor(value)}
        write_checkpoint({"update": update_num + 1, **kept, "terms": terms}, path)
        raise UserError(
            f"{self.cfg._name}: {what}; the batch is in {path}, and checkpoints are as they were: {REMEDY}"
        )


def _first_not_finite(model: BaseFairseqModel) -> str | None:
    """Return the name of the first weight whose gradient is not finite."""
    named = [(name, weight.grad) for name, weight in model.named_parameters() if weight.grad is not None]
    if not named:
        return None
    norms = torch.stack(torch._foreach_norm([grad for _, grad in named]))  # (weights,)
    if torch.isfinite(norms.sum()):
        return None
    wrong = [name for (name, _), norm in zip(named, norms.tolist(), strict=True) if norm - norm != 0]
    return next(iter(wrong), None)
