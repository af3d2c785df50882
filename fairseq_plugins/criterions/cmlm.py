"""``--criterion cmlm``: cross entropy at the masked positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor

from cmlm_kd.errors import UserError
from cmlm_kd.losses.masked_tokens import masked_cross_entropy
from fairseq_plugins.training.precision import LoggingOutput
from fairseq_plugins.training.task_origin import is_of_fairseq, is_of_plugin, name_of


@register_criterion("cmlm", dataclass=FairseqDataclass)
class CMLMCriterion(FairseqCriterion):
    """Adapter of :func:`cmlm_kd.losses.masked_tokens.masked_cross_entropy`; a mean over masked positions."""

    def __init__(self, task: FairseqTask) -> None:
        super().__init__(task)
        if (is_of_plugin(task) or is_of_fairseq(task)) and name_of(task) != "cmlm":
            raise UserError(
                f"cmlm: trains a BERT on masked target tokens, which --task {name_of(task)} does not have; "
                "take --task cmlm, or for a translator --criterion soft_target_kd (docs/criteria)"
            )

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Return summed loss, masked positions and what is logged."""
        logits = model(**sample["net_input"])  # (M, V)
        loss, correct = masked_cross_entropy(logits, sample["target"])
        masked = sample["target"].numel()
        return (
            loss,
            masked,
            {
                "loss": loss.detach(),
                "correct": correct,
                "sample_size": masked,
                "ntokens": sample["ntokens"],
                "nsentences": sample["nsentences"],
            },
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: Sequence[LoggingOutput]) -> None:
        """Log loss in base 2, as fairseq does, perplexity and the share of masked positions got right."""
        masked = sum(output.get("sample_size", 0) for output in logging_outputs)
        loss = sum(output.get("loss", 0) for output in logging_outputs)
        correct = sum(output.get("correct", 0) for output in logging_outputs)
        metrics.log_scalar("loss", loss / masked / math.log(2), masked, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg))
        metrics.log_scalar("accuracy", 100.0 * correct / masked, masked, round=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Everything logged is a sum."""
        return True
