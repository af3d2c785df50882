"""Students over sentences, and ``--arch bert_classifier``: any encoder, or its first layers, under a head."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.data.classification.inputs import SentenceInputs
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG
from cmlm_kd.models.bert import start_classifier
from cmlm_kd.models.classifier import REQUIRED_TOKENS, classifier_of_config, describe_config
from cmlm_kd.tokenization.loading import load_tokenizer
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.models.flags import check_dropout, check_encoder_given


class SentenceStudentTask(Protocol):
    """Everything that a student over sentences asks of the task that it is built for.

    Attributes:
        max_length: longest input that the user wants, 0 for what the model takes.
        state: fairseq's container of what checkpoints carry of the task.
        teacher_names: Hugging Face directories of the teachers.
    """

    max_length: int
    state: Any
    teacher_names: Sequence[str]

    @property
    def labels(self) -> Sequence[str]:
        """Classes in the order of the logits; empty for scores."""

    @property
    def is_pair(self) -> bool:
        """Whether examples are pairs of sentences."""

    def training_examples(self) -> Examples:
        """Return what the student will be trained on."""

    def from_checkpoint(self, key: str) -> Any:
        """Return what the task state of a checkpoint that is being loaded says, None outside of loading."""


class SentenceClassifierModel(BaseFairseqModel):
    """Adapter of a :class:`cmlm_kd.models.prediction.Classifier`.

    Args:
        classifier: the library's model.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier

    @property
    def description(self) -> ModelDescription:
        """What it can give."""
        return self.classifier.description

    @property
    def inputs(self) -> SentenceInputs:
        """What turns sentences into its ids."""
        return self.classifier.inputs

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return logits ``(B, C)`` and what is asked for."""
        return self.classifier(input_ids, attention_mask, token_type_ids, request)

    def max_positions(self) -> int:
        """Return the longest input; longer ones are cut before."""
        return self.inputs.max_length


@dataclass
class BertClassifierConfig(PluginConfig):
    """Flags of ``--arch bert_classifier``."""

    bert: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name to start from: a pre-trained encoder, or the teacher"
        },
    )
    layers: int = field(default=0, metadata={"help": "keep the first so many layers; 0: all"})
    dropout: float | None = field(
        default=None, metadata={"help": "dropout everywhere, in [0, 1); default: as the model has it"}
    )
    keep_head: bool = field(
        default=False,
        metadata={"help": "start from the directory's own classification head instead of a new one"},
    )


@register_model("bert_classifier", dataclass=BertClassifierConfig)
class BertClassifier(SentenceClassifierModel):
    """Adapter of :class:`cmlm_kd.models.classifier.SequenceClassifier`."""

    @classmethod
    def build_model(cls, cfg: BertClassifierConfig, task: SentenceStudentTask) -> BertClassifier:
        """Start from an encoder, or make the architecture that a checkpoint describes."""
        check_encoder_given(cfg.bert, "bert_classifier")
        check_dropout(cfg.dropout, "bert_classifier")
        described = task.from_checkpoint(BERT_CONFIG)
        if described is not None:
            tokenizer = load_tokenizer(cfg.bert, REQUIRED_TOKENS)
            return cls(
                classifier_of_config(
                    json.loads(described), tokenizer, "student bert_classifier", task.max_length
                )
            )
        classifier = start_classifier(
            cfg.bert,
            task.labels,
            layers=cfg.layers,
            dropout=cfg.dropout,
            max_length=task.max_length,
            keep_head=cfg.keep_head,
        )
        task.state.merge_state_dict({BERT_CONFIG: describe_config(classifier.config)})
        return cls(classifier)
