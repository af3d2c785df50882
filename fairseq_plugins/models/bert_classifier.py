"""``--arch bert_classifier``: any Hugging Face encoder, or its first layers, under a classification head."""

import json
from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model

from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG
from cmlm_kd.models.bert import start_classifier
from cmlm_kd.models.classifier import (
    REQUIRED_TOKENS,
    classifier_of_config,
    describe_config,
)
from cmlm_kd.tokenization.loading import load_tokenizer
from fairseq_plugins.models.flags import check_dropout, check_encoder_given
from fairseq_plugins.models.sentence_classifier import SentenceClassifierModel


@dataclass
class BertClassifierConfig(FairseqDataclass):
    """Flags of ``--arch bert_classifier``."""

    bert: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name to start from: a pre-trained encoder, or the teacher"
        },
    )
    layers: int = field(default=0, metadata={"help": "keep the first so many layers; 0: all"})
    dropout: Optional[float] = field(
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
    def build_model(cls, cfg, task):
        """Start from an encoder, or make the architecture that a checkpoint describes."""
        check_encoder_given(cfg, "bert_classifier")
        check_dropout(cfg, "bert_classifier")
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
