"""``--arch multitask_bert``: one Hugging Face encoder for several tasks, for ``--task multitask_kd``."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor
from torch.nn import Parameter

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.data.classification.inputs import SentenceInputs
from cmlm_kd.data.classification.ranking import by_query
from cmlm_kd.data.classification.tasks import some_tasks
from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import REQUIRED_TOKENS
from cmlm_kd.models.multitask import ARCHITECTURE, MultitaskClassifier, TaskHead, start_multitask
from cmlm_kd.models.san import SANSettings
from cmlm_kd.tokenization.loading import load_tokenizer
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.models.flags import check_dropout, check_encoder_given


class MultitaskStudentTask(Protocol):
    """Everything that a student of several tasks asks of the fairseq task that it is built for.

    Attributes:
        cfg: the fairseq task's config.
        max_length: longest input that the user wants, 0 for what the model takes.
        state: fairseq's container of what checkpoints carry of the task.
    """

    cfg: Any
    max_length: int
    state: Any

    @property
    def heads(self) -> Sequence[TaskHead]:
        """The tasks."""

    def from_checkpoint(self, key: str) -> Any:
        """Return what the task state of a checkpoint that is being loaded says, None outside of loading."""


@dataclass
class MultitaskBertConfig(PluginConfig):
    """Flags of ``--arch multitask_bert``."""

    bert: str = field(
        default="", metadata={"help": "Hugging Face directory or hub name of the encoder to start from"}
    )
    layers: int = field(default=0, metadata={"help": "keep the first so many layers; 0: all"})
    dropout: float | None = field(
        default=None, metadata={"help": "dropout everywhere, in [0, 1); default: as the encoder has it"}
    )
    san_heads: str = field(
        default="",
        metadata={"help": "tasks with an answer network, separated by commas: pairs with classes"},
    )
    san_turns: int = field(
        default=SANSettings.turns, metadata={"help": "turns of answer networks, 1 or more"}
    )
    san_dropout: float = field(
        default=SANSettings.dropout,
        metadata={"help": "share of turns that training leaves out of an answer, in [0, 1)"},
    )


@register_model(ARCHITECTURE, dataclass=MultitaskBertConfig)
class MultitaskBert(BaseFairseqModel):
    """Adapter of :class:`cmlm_kd.models.multitask.MultitaskClassifier`."""

    def __init__(self, classifier: MultitaskClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    @classmethod
    def build_model(cls, cfg: MultitaskBertConfig, task: MultitaskStudentTask) -> "MultitaskBert":
        """Start from an encoder, or make the architecture that a checkpoint describes."""
        if not hasattr(task, "heads"):
            raise UserError(
                f"multitask_bert: --task {task.cfg._name} trains one task; pass --task multitask_kd, or "
                "--arch bert_classifier"
            )
        check_encoder_given(cfg.bert, "multitask_bert")
        check_dropout(cfg.dropout, "multitask_bert")
        described = task.from_checkpoint(ARCHITECTURE)
        if described is not None:
            tokenizer = load_tokenizer(cfg.bert, REQUIRED_TOKENS)
            return cls(MultitaskClassifier.from_state(described, tokenizer, task.max_length))
        answered = some_tasks(cfg.san_heads, "--san-heads", [head.name for head in task.heads])
        classifier = start_multitask(
            cfg.bert,
            [replace(head, san=head.name in answered) for head in task.heads],
            layers=cfg.layers,
            dropout=cfg.dropout,
            max_length=task.max_length,
            san=SANSettings(cfg.san_turns, cfg.san_dropout),
        )
        task.state.merge_state_dict({ARCHITECTURE: classifier.state_of_architecture()})
        return cls(classifier)

    @property
    def inputs(self) -> SentenceInputs:
        """What turns sentences into its ids."""
        return self.classifier.inputs

    def describe(self, name: str) -> ModelDescription:
        """Return what it can give for a task."""
        return self.classifier.describe(name)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        task: str,
        candidates: Tensor | None = None,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return the logits of a task, ``(B, C)``, or ``(G, K)`` for queries of K candidates.

        Args:
            input_ids: ``(B, S)``.
            attention_mask: ``(B, S)``.
            token_type_ids: ``(B, S)``.
            task: its name.
            candidates: ``(G,)``, how many rows each query has, for ranking.
            request: nothing else than logits.
        """
        output = self.classifier(input_ids, attention_mask, token_type_ids, task)
        logits = output.sentence_logits()
        if candidates is not None:
            logits = by_query(logits, candidates)  # (G, K)
        if self.training:
            # Workers are at different tasks, and all of them wait for the gradients of all heads. With one
            # worker it is the same, so that their number changes nothing.
            logits = logits + 0.0 * sum(parameter.sum() for parameter in self._unused(task))
        return replace(output, logits=logits)

    def _unused(self, name: str) -> list[Parameter]:
        """Return the parameters that the batch of a task does not come by."""
        classifier = self.classifier
        own = {id(parameter) for parameter in classifier.heads[name].parameters()}
        found = [parameter for parameter in classifier.heads.parameters() if id(parameter) not in own]
        pooler = getattr(classifier.encoder, "pooler", None)
        if classifier.tasks[name].san and pooler is not None:
            found += pooler.parameters()
        return found

    def max_positions(self) -> int:
        """Return the longest input."""
        return self.inputs.max_length
