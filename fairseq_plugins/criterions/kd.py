"""Every registered KD criterion as a fairseq criterion: ``--criterion NAME`` with its config's fields as
flags."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from fairseq import utils
from fairseq.criterions import CRITERION_REGISTRY, FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.constants import DDP_BACKEND_CHOICES
from fairseq.distributed.utils import get_data_parallel_world_size
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor, nn

from cmlm_kd.api.criterion import CriterionOutput, KDCriterion
from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription, Needs, check_needs
from cmlm_kd.api.registry import Entry, kd_criteria
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria import load_criteria
from cmlm_kd.criteria.masked_lm_loss import target_at, text_validation, validation_request
from cmlm_kd.errors import UserError
from fairseq_plugins.command_line.configs import fairseq_dataclass, plain_config, refuse_collisions
from fairseq_plugins.models.encoding import Encoding, with_history
from fairseq_plugins.models.inner_states import inner_states
from fairseq_plugins.models.output_layer import (
    Projection,
    adaptive_log_probs,
    find_projection,
    without_output_layer,
)
from fairseq_plugins.optim import set_rate_factors
from fairseq_plugins.training.precision import LoggingOutput
from fairseq_plugins.training.task_origin import is_of_fairseq, name_of

logger = logging.getLogger(__name__)

SETTINGS_OF_FAIRSEQ = {
    "sentence_avg": (bool, II("optimization.sentence_avg")),
    "ddp_backend": (DDP_BACKEND_CHOICES, II("distributed_training.ddp_backend")),
    "find_unused_parameters": (bool, II("distributed_training.find_unused_parameters")),
}


class KDFairseqCriterion(FairseqCriterion):
    """Adapter between a :class:`cmlm_kd.api.criterion.KDCriterion` and fairseq's trainer.

    The loss is the criterion's sum; ``sample_size`` is the number of target tokens, or of sentences with
    ``--sentence-avg`` and for criteria over sentences. Models in evaluation get the criterion's validation
    loss.

    A task whose students give more than logits has ``kd_level`` (``tokens``, ``sentences`` or ``text``),
    ``student_description`` and ``teacher_description`` (:class:`cmlm_kd.api.needs.ModelDescription`; None
    without a teacher); they are known once its model is built. One of target tokens has ``without_teacher``
    where no batch of it will have one: the flag that says so. What the criterion trains itself is a
    submodule here, which fairseq optimises, saves and resumes with the model.

    Attributes:
        needs: what the criterion reads of student and teacher, now.
    """

    entry: ClassVar[Entry[KDCriterion]]

    def __init__(self, cfg: FairseqDataclass, task: FairseqTask) -> None:
        super().__init__(task)
        self.criterion = self.entry.cls(plain_config(self.entry.config, cfg), self.padding_idx)
        self.sentence_avg = cfg.sentence_avg
        self.sharded = str(cfg.ddp_backend) == "fully_sharded"
        self.level = getattr(task, "kd_level", "tokens")
        self._announced = False
        self._refuse_unused_parameters(str(cfg.ddp_backend), cfg.find_unused_parameters)
        self._all_needs, self.trainable = self._meet(task)
        self.needs = self._all_needs

    def _meet(self, task: FairseqTask) -> tuple[Needs, nn.Module | None]:
        """Return what the criterion needs of the task's models, and the module it trains."""
        name, level = self.entry.name, self.level
        if level not in self.criterion.levels:
            raise UserError(
                f"{name}: is a loss over {' or '.join(self.criterion.levels)}, but --task {name_of(task)} "
                f"trains on {level}; take a criterion over {level} (docs/criteria) or another task"
            )
        student = getattr(task, "student_description", None)
        if student is None:
            return Needs(), None
        if level == "tokens" and not self.criterion.reads_inside:  # no teacher is loaded before its data
            return Needs(), None
        teacher = getattr(task, "teacher_description", None)
        needs = self.criterion.needs(student, teacher)
        check_needs(name, needs, student, teacher)
        return needs, self.criterion.build_modules(student, teacher)

    def check_taught(self, task: FairseqTask) -> None:
        """Refuse a task whose batches will have no teacher, before training.

        A user's own task is left alone: what it adds to its batches is seen in the first one.

        Raises:
            UserError: naming the task, or the flag that leaves the teacher out.
        """
        where = getattr(task, "without_teacher", f"--task {name_of(task)}" if is_of_fairseq(task) else None)
        if where is None or self.level != "tokens":
            return
        self.criterion.check_untaught(where)
        student = getattr(task, "student_description", None) or ModelDescription("the student")
        if self.criterion.needs(student, None).teacher is not None and not self.criterion.learns_untaught:
            raise UserError(
                f"{self.entry.name}: reads a teacher, and {where} has none; train with --task translation_kd "
                "and --soft-targets STORE or --online-teacher MODEL"
            )

    def load_state_dict(self, state_dict: Mapping[str, Tensor] | None, strict: bool = True) -> None:
        """Take over what the criterion trained before. A checkpoint of one that trains nothing has None: what
        is trained here begins anew.

        Raises:
            UserError: if the checkpoint's has other names or shapes.
        """
        if state_dict is None:
            logger.info(
                "%s: the checkpoint carries nothing of what it trains itself, which begins anew; the "
                "optimizer cannot resume with it: pass --reset-optimizer, or start by --finetune-from-model",
                self.entry.name,
            )
            return
        here, there = (
            {name: tuple(tensor.shape) for name, tensor in state.items()}
            for state in (self.state_dict(), state_dict)
        )
        if here != there:
            raise UserError(
                f"{self.entry.name}: trains {here} besides the student, the checkpoint has {there}; pass the "
                "settings of the run that wrote it (such as --kd-projection and --kd-layer-map), or export "
                "its student and start from that directory with --bert"
            )
        super().load_state_dict(state_dict, strict)

    def resume(self, earlier: Mapping[str, Any]) -> None:
        """Tell the criterion with which settings a training that goes on was trained so far."""
        self.criterion.resume(earlier)

    def begin_update(self, update: int, optimizer: FairseqOptimizer) -> None:
        """Tell the criterion how many updates there were; learn what it reads now, and at which rates."""
        self.criterion.begin_update(update)
        self.needs = self.criterion.needs_now() or self._all_needs
        factors = self.criterion.rate_factors()
        if factors is not None:
            set_rate_factors(optimizer, factors, self.entry.name)

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags of the config, none of which may hide another's."""
        refuse_collisions(parser, cls.entry.config, cls.entry.name)
        super().add_args(parser)

    def _refuse_unused_parameters(self, backend: str, find_unused: bool) -> None:
        # DDP would take the output layer, used after the model's forward, for unused and fail in the
        # backward.
        concerned = find_unused and backend in ("c10d", "pytorch_ddp") and get_data_parallel_world_size() > 1
        text = self.level == "text"  # models of text always leave the output layer to the criterion
        if concerned and (text or self.criterion.wants_features(None)):
            dense = "" if text else " or --kd-implementation dense"
            raise UserError(
                f"{self.entry.name}: --find-unused-parameters with --ddp-backend {backend} does not go "
                "together with the fused loss, which uses the output layer outside of the model's forward; "
                f"drop the flag, or pass --ddp-backend legacy_ddp{dense}"
            )

    def check_teacher(self, k: int, tail_temperatures: Sequence[float]) -> None:
        """Refuse a store that cannot serve the criterion; for tasks that open one before training."""
        self.criterion.check_teacher(k, tail_temperatures)

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, Any, dict[str, Any]]:
        """Return the summed loss, the sample size and what is logged."""
        if self.level == "text":
            return self._forward_text(model, sample)
        student = self._student_output(model, sample)
        target = sample["target"]  # (B, T)
        if model.training:
            output = self.criterion.training_loss(student, target, teacher_signal(sample))
        else:
            output = self.criterion.validation_loss(student, target)
        by_sentence = self.sentence_avg or self.level == "sentences"
        sample_size = target.size(0) if by_sentence else sample["ntokens"]
        logged = self._logged(output, sample["ntokens"], target.size(0), sample_size)
        if self.level == "sentences":
            logged["scores"] = int(target.is_floating_point())
            if not model.training:  # what GLUE measures is no sum over batches
                logged["predictions"], logged["targets"] = student.sentence_logits().detach(), target
                if student.exits is not None:
                    logged["exits"] = student.exit_logits().detach()  # (L, B, C)
        return output.loss, sample_size, logged

    def _forward_text(
        self, model: BaseFairseqModel, sample: dict[str, Any]
    ) -> tuple[Tensor, Any, dict[str, Any]]:
        """Text with masked tokens; the size that divides the loss is the criterion's to say."""
        wanted = self.needs.student
        request = wanted if model.training else validation_request(wanted)
        student = model(**sample["net_input"], request=request)
        inputs = sample["net_input"]
        target = target_at(
            student.positions, inputs["masked_index"], sample["target"], inputs["input_ids"].numel()
        )  # (N,)
        signal = teacher_signal(sample)
        if model.training:
            output = self.criterion.training_loss(student, target, signal)
        else:
            output = text_validation(self.criterion, self.needs, student, target, signal)
        logged = self._logged(output, sample["ntokens"], sample["nsentences"], output.size)
        logged["validates_text"] = int(not model.training)
        return output.loss, output.size, logged

    @staticmethod
    def _logged(output: CriterionOutput, tokens: int, sentences: int, size: Any) -> dict[str, Any]:
        """Return what fairseq and :meth:`reduce_metrics` read of a batch."""
        logged = {
            "loss": output.loss.detach(),
            "ntokens": tokens,
            "nsentences": sentences,
            "sample_size": size,
        }
        for name, term in output.terms.items():
            logged[f"term:{name}"], logged[f"count:{name}"] = term.total, term.count
        for name, count in output.counts.items():
            logged[f"sum:{name}"] = count
        return logged

    def _student_output(self, model: BaseFairseqModel, sample: dict[str, Any]) -> ModelOutput:
        """Run the model once, for hidden states if the criterion wants them and the decoder can."""
        if self.level == "sentences":
            wanted = self.needs.student
            return model(**sample["net_input"], request=wanted if model.training else wanted.in_validation)
        inputs = sample["net_input"]
        projection = "parameters are sharded over processes" if self.sharded else find_projection(model)
        obstacle = projection if isinstance(projection, str) else None
        fused = self.criterion.wants_features(obstacle)
        if not self._announced:
            reason = f" ({obstacle})" if obstacle else ""
            logger.info("%s: %s loss%s", self.entry.name, "fused" if fused else "dense", reason)
            self._announced = True
        if model.training and self.needs.student.reads_inside:
            with inner_states(model, self.needs.student) as kept:
                output = self._translate(model, inputs, projection, fused)
            return kept.put_into(output, inputs["src_tokens"].ne(self.padding_idx))
        if model.training and self.needs.student.other_histories:
            encoding = Encoding(model.encoder)
            with encoding.kept():
                output = self._translate(model, inputs, projection, fused)

            def again(target: Tensor) -> ModelOutput:
                with encoding.in_place():
                    other = with_history(inputs, target, self.padding_idx)
                    return self._translate(model, other, projection, fused)

            return replace(output, again=again)
        return self._translate(model, inputs, projection, fused)

    @staticmethod
    def _translate(
        model: BaseFairseqModel, inputs: Mapping[str, Tensor], projection: Projection | str, fused: bool
    ) -> ModelOutput:
        """Run a translator once, for hidden states or for logits."""
        if fused:
            with without_output_layer(model.decoder) as stand_in:
                output = model(**inputs)
            if stand_in.asked and not isinstance(projection, str):
                return ModelOutput(features=output[0], weight=projection.weight, bias=projection.bias)
        else:
            output = model(**inputs)
        adaptive = getattr(getattr(model, "decoder", None), "adaptive_softmax", None)
        if adaptive is not None:  # the decoder gives hidden states and leaves the rest to the criterion
            return ModelOutput(logits=adaptive_log_probs(adaptive, output[0]))
        return ModelOutput(logits=output[0])

    @classmethod
    def reduce_metrics(cls, logging_outputs: Sequence[LoggingOutput]) -> None:
        """Log the loss and every term, log-likelihoods in base 2, and perplexity."""
        total = _Totals(logging_outputs)
        size = total["sample_size"]
        bits = cls.entry.cls.terms_in_nats
        if total["scores"]:
            bits = frozenset()  # squared errors have no unit of information
        elif any("predictions" in output for output in logging_outputs):
            # Students of any criterion over sentences are compared by the same loss, in the same unit.
            bits = bits | {"loss", "hard_loss"}
        elif total["validates_text"]:
            bits = bits | {"loss", "mlm_loss"}
        base = math.log(2) if "loss" in bits else 1.0
        metrics.log_scalar("loss", total["loss"] / size / base, size, round=3)
        for name in total.names("term:"):
            count = total[f"count:{name}"]
            if count > 0:
                base = math.log(2) if name in bits else 1.0
                metrics.log_scalar(name, total[f"term:{name}"] / count / base, count, round=3)
        for name in total.names("sum:"):
            metrics.log_scalar_sum(name, utils.item(total[f"sum:{name}"]))
        for name in ("nll_loss", "mlm_loss"):
            if total[f"count:{name}"] > 0:
                metrics.log_derived("ppl", lambda meters, name=name: utils.get_perplexity(meters[name].avg))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """What is logged are sums and counts; tasks over sentences, which gather predictions, override it."""
        return True


def teacher_signal(sample: Mapping[str, Any]) -> TeacherSignal | None:
    """Return what ``sample["teacher"]`` is: from the task the signal, from the data loader its batch form."""
    teacher = sample.get("teacher")
    return TeacherSignal.from_batch(teacher) if isinstance(teacher, Mapping) else teacher


class _Totals:
    """Logging outputs added up over workers."""

    def __init__(self, logging_outputs: Sequence[LoggingOutput]) -> None:
        self._outputs = logging_outputs

    def __getitem__(self, key: str) -> Any:
        return sum(output.get(key, 0) for output in self._outputs)

    def names(self, prefix: str) -> list[str]:
        """Return what follows ``prefix`` in the keys that have it."""
        keys = {key for output in self._outputs for key in output if key.startswith(prefix)}
        return sorted(key[len(prefix) :] for key in keys)


def register_with_fairseq(entry: Entry[KDCriterion]) -> None:
    """Make ``--criterion entry.name`` exist. Resuming compares class names, so adapters keep them.

    Raises:
        UserError: if fairseq, or another user directory, has a criterion or a class of that name.
    """
    for name, cls in CRITERION_REGISTRY.items():
        taken = "the name" if name == entry.name else f"the class name {cls.__name__}"
        if name == entry.name or cls.__name__ == entry.cls.__name__:
            raise UserError(
                f"KD criterion {entry.name!r}: fairseq has {taken} already, of --criterion {name} "
                f"({cls.__module__}); choose another"
            )
    config = fairseq_dataclass(entry.config, entry.name, SETTINGS_OF_FAIRSEQ)
    adapter = type(
        entry.cls.__name__,
        (KDFairseqCriterion,),
        {"entry": entry, "__module__": __name__, "__doc__": entry.cls.__doc__},
    )
    register_criterion(entry.name, dataclass=config)(adapter)


kd_criteria.subscribe(register_with_fairseq)
load_criteria()  # afterwards: what fairseq refuses of an installed package is then that package's failure
