"""One encoder for several tasks, each with a head of its own (MT-DNN, Liu et al., 2019).

Sentences and pairs with classes, scores of similarity, and relevance have the head that Hugging Face puts on
the encoder's architecture (a linear layer on BERT's pooled output, as in the released code), so that every
task can be exported as an ordinary classifier. Pairs with classes may have the answer network of
:mod:`cmlm_kd.models.san` instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import ModelDescription
from cmlm_kd.data.classification.inputs import SentenceInputs
from cmlm_kd.data.classification.tasks import closest
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import MULTITASK
from cmlm_kd.models.bert import load_encoder, student_config, take_over
from cmlm_kd.models.classifier import (
    SequenceClassifier,
    describe_config,
)
from cmlm_kd.models.encoders.pretrained import config_of
from cmlm_kd.models.san import SANSettings, StochasticAnswerNetwork

ARCHITECTURE = MULTITASK


@dataclass(frozen=True)
class TaskHead:
    """A task and what its head puts out.

    Attributes:
        name: of the task.
        labels: its classes in the order of the logits; empty for scores and for ranking.
        is_pair: whether its examples are pairs of sentences.
        is_ranking: whether its one output is the relevance of a candidate (second) for a query (first).
        san: whether the head is an answer network.
    """

    name: str
    labels: tuple[str, ...] = ()
    is_pair: bool = False
    is_ranking: bool = False
    san: bool = False

    def __post_init__(self) -> None:
        if hasattr(nn.ModuleDict, self.name):
            raise UserError(f"multitask_bert: a task cannot be called {self.name!r}; give it another name")
        if self.san and not (self.is_pair and self.labels):
            kind = "ranks candidates" if self.is_ranking else "has scores" if self.is_pair else "has no pairs"
            raise UserError(
                f"multitask_bert: --san-heads is for pairs of sentences with classes, {self.name} {kind}"
            )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TaskHead:
        """Return what ``dataclasses.asdict`` described."""
        return cls(**{**document, "labels": tuple(document["labels"])})


class MultitaskClassifier(nn.Module):
    """A shared Hugging Face encoder and one head per task.

    Args:
        config: the encoder's Hugging Face configuration.
        heads: the tasks, at least one.
        tokenizer: of the encoder.
        max_length: longest input in tokens; 0: what the encoder takes.
        san: settings of answer networks.

    Attributes:
        encoder: what the tasks share.
        tasks: name -> :class:`TaskHead`.
        inputs: what turns sentences into the encoder's ids.
    """

    inputs: SentenceInputs

    def __init__(
        self,
        config: Any,
        heads: Sequence[TaskHead],
        tokenizer: Any,
        max_length: int = 0,
        san: SANSettings | None = None,
    ) -> None:
        super().__init__()
        self.tasks = {head.name: head for head in heads}
        self.san = san or SANSettings()
        whole = SequenceClassifier(
            _build(config, heads[0], layers=0), tokenizer, "student multitask_bert", max_length
        )
        self.inputs = whole.inputs
        self.encoder: Any = whole.model.base_model
        self.heads = nn.ModuleDict({head.name: self._head(head) for head in heads})

    def _head(self, head: TaskHead) -> nn.Module:
        if head.san:
            return StochasticAnswerNetwork(self.encoder.config.hidden_size, len(head.labels), self.san)
        model = _build(self.encoder.config, head, layers=1)  # whose encoder is thrown away
        setattr(model, model.base_model_prefix, _SharedEncoder(self.encoder))
        return model  # type: ignore[no-any-return]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, task: str
    ) -> ModelOutput:
        """Return the logits of a task, ``(B, C)``, or ``(B, 1)`` for scores and relevance.

        Args:
            input_ids: ``(B, S)``, right-padded.
            attention_mask: ``(B, S)``, 0 on padding.
            token_type_ids: ``(B, S)``, 0 on the first sentence, 1 on the second.
            task: its name.
        """
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            batch["token_type_ids"] = token_type_ids
        if not self.tasks[task].san:
            return ModelOutput(logits=self.heads[task](**batch).logits)
        real, second = attention_mask.bool(), token_type_ids.bool()  # (B, S)
        states = self.encoder(**batch).last_hidden_state  # (B, S, d)
        return ModelOutput(logits=self.heads[task](states, real & ~second, real & second))

    def describe(self, task: str) -> ModelDescription:
        """Return what it can give for a task: logits, and nothing of its layers."""
        head = self.tasks[task]
        labels = ("relevance",) if head.is_ranking else head.labels
        return ModelDescription(f"student multitask_bert ({task})", labels=labels, tokenizer=self.inputs.hash)

    def for_task(self, task: str | None) -> TaskClassifier:
        """Return the classifier of one task; None does where there is but one.

        Raises:
            UserError: if there is no such task, naming those that there are.
        """
        if task is None and len(self.tasks) == 1:
            (task,) = self.tasks
        if task not in self.tasks:
            known = ", ".join(self.tasks)
            wanted = f"has no task {task!r}{closest(task, self.tasks)}" if task else "has several tasks"
            raise UserError(f"the multitask_bert model {wanted}; name one of them with --task: {known}")
        return TaskClassifier(self, task)

    def state_of_architecture(self) -> str:
        """Return, as JSON, what :meth:`from_state` rebuilds it from."""
        return json.dumps(
            {
                "config": json.loads(describe_config(self.encoder.config)),
                "heads": [asdict(head) for head in self.tasks.values()],
                "san": asdict(self.san),
            }
        )

    @classmethod
    def from_state(cls, described: str, tokenizer: Any, max_length: int = 0) -> MultitaskClassifier:
        """Return the model that :meth:`state_of_architecture` described, with random weights."""
        document = json.loads(described)
        config = config_of(document["config"])
        heads = [TaskHead.from_document(head) for head in document["heads"]]
        return cls(config, heads, tokenizer, max_length, SANSettings(**document["san"]))


class TaskClassifier(nn.Module):
    """One task of a :class:`MultitaskClassifier`, as a classifier like any other.

    Args:
        model: all tasks.
        task: the one.
    """

    def __init__(self, model: MultitaskClassifier, task: str) -> None:
        super().__init__()
        self.model, self.task = model, task

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes in the order of its logits; empty for a score."""
        return self.model.tasks[self.task].labels

    @property
    def reads_pairs(self) -> bool:
        """Whether it reads pairs of sentences."""
        return self.model.tasks[self.task].is_pair

    @property
    def inputs(self) -> SentenceInputs:
        """What turns sentences into its ids."""
        return self.model.inputs

    @property
    def description(self) -> ModelDescription:
        """What it can give."""
        return self.model.describe(self.task)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> ModelOutput:
        """Return logits ``(B, C)``; see :meth:`MultitaskClassifier.forward`."""
        return self.model(input_ids, attention_mask, token_type_ids, self.task)  # type: ignore[no-any-return]

    def to_sequence_classifier(self) -> SequenceClassifier:
        """Return an ordinary Hugging Face classifier with a copy of the encoder and of the task's head.

        Raises:
            UserError: if the head is an answer network, which Hugging Face has no class for.
        """
        head = self.model.tasks[self.task]
        if head.san:
            raise UserError(
                f"the head of {self.task} is an answer network (--san-heads), for which Hugging Face has no "
                "class; evaluate the checkpoint itself, or train the task without --san-heads"
            )
        whole = _build(self.model.encoder.config, head, layers=0)
        take_over(whole.base_model, self.model.encoder)
        whole.load_state_dict(self.model.heads[self.task].state_dict(), strict=False)
        inputs: Any = self.inputs
        alone = SequenceClassifier(whole, inputs.tokenizer, f"task {self.task}", inputs.max_length).eval()
        alone.reads_pairs = self.reads_pairs
        return alone


def start_multitask(
    name_or_path: str,
    heads: Sequence[TaskHead],
    *,
    layers: int = 0,
    dropout: float | None = None,
    max_length: int = 0,
    san: SANSettings | None = None,
) -> MultitaskClassifier:
    """Make a student: an encoder, or its first layers, with a new head for each task.

    Args:
        name_or_path: Hugging Face directory or hub name of the encoder.
        heads: the tasks.
        layers: how many of its layers to keep, the first ones; 0: all.
        dropout: every dropout of encoder and heads, in [0, 1); None: as the encoder has it.
        max_length: longest input in tokens; 0: what the encoder takes.
        san: settings of answer networks.

    Raises:
        UserError: if nothing can be loaded, or it has fewer layers.
    """
    from cmlm_kd.models.classifier import REQUIRED_TOKENS
    from cmlm_kd.tokenization.loading import load_tokenizer

    source = load_encoder(name_or_path, ARCHITECTURE)
    config = student_config(source.config, name_or_path, (), layers, dropout, owner=ARCHITECTURE)
    tokenizer = load_tokenizer(name_or_path, REQUIRED_TOKENS)
    model = MultitaskClassifier(config, heads, tokenizer, max_length, san)
    take_over(model.encoder, source)
    return model


class _SharedEncoder(nn.Module):
    """The shared encoder in the place where a head's model has its own, without being a part of the head."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._encoder = (encoder,)  # a tuple hides it from PyTorch's search for submodules

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._encoder[0](*args, **kwargs)


def _build(config: Any, head: TaskHead, layers: int) -> Any:
    """Return a Hugging Face classifier for a task with random weights, with the first layers (0: all)."""
    from transformers import AutoModelForSequenceClassification

    from cmlm_kd.system.transformers_reports import without_reports

    own = student_config(config, "the encoder", head.labels, layers, owner=ARCHITECTURE)
    with without_reports():
        return AutoModelForSequenceClassification.from_config(own)  # type: ignore[no-untyped-call]
