"""``--arch mobilebert`` and ``--arch ib_bert``, its teacher: BERTs of another width inside a block."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.models.bottleneck_bert import (
    IB_BERT,
    MOBILEBERT,
    BottleneckSizes,
    inherit_embeddings_and_head,
    new_ib_bert,
    new_mobilebert,
)
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.optim import group_by_layer
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.models.flags import check_dropout, given_sizes, refuse_beside_bert
from fairseq_plugins.models.masked_lm import BertMaskedLM, TextStudentTask

logger = logging.getLogger(__name__)


class BottleneckMaskedLM(BertMaskedLM):
    """A masked language model whose parameters know their layers, for optimisers with rates by layer."""

    def __init__(self, masked_lm: MaskedLM) -> None:
        super().__init__(masked_lm)
        group_by_layer(masked_lm.model)


def size_flag(help_: str, default: int) -> Any:
    """Return a flag for one of the sizes of a new model."""
    return field(default=None, metadata={"help": f"{help_}; default: {default}"})


def load_of_type(name: str, model_type: str, owner: str, wanted: str) -> MaskedLM:
    """Load a masked language model, which must be of the type that an architecture is for.

    Args:
        name: Hugging Face directory or hub name.
        model_type: Hugging Face's name of the type.
        owner: the architecture, for messages.
        wanted: what messages call a model of the type.

    Raises:
        UserError: naming the model and its type.
    """
    masked_lm = MaskedLM.from_pretrained(name)
    if masked_lm.config.model_type != model_type:
        raise UserError(
            f"{owner}: {name!r} is a {masked_lm.config.model_type} model; give {wanted}, or take --arch "
            "bert_masked_lm"
        )
    return masked_lm


@dataclass
class IBBertModelConfig(PluginConfig):
    """Flags of ``--arch ib_bert``; the sizes are those of a new model."""

    layers: int | None = size_flag("blocks", IB_BERT.layers)
    hidden_size: int | None = size_flag("width of feature maps, the student's", IB_BERT.hidden_size)
    bottleneck_size: int | None = size_flag("width inside a block", IB_BERT.bottleneck_size)
    heads: int | None = size_flag("attention heads, the student's", IB_BERT.heads)
    ffn_size: int | None = size_flag("width inside the feed-forward network", IB_BERT.ffn_size)
    embedding_size: int | None = size_flag("width of word embeddings", IB_BERT.embedding_size)
    positions: int | None = size_flag("longest input in tokens", IB_BERT.positions)
    dropout: float = field(default=0.1, metadata={"help": "dropout everywhere, in [0, 1)"})
    bert: str = II("task.bert")


@register_model("ib_bert", dataclass=IBBertModelConfig)
class IBBert(BottleneckMaskedLM):
    """:class:`cmlm_kd.models.encoders.ib_bert.IBBertForMaskedLM`."""

    @classmethod
    def build_model(cls, cfg: IBBertModelConfig, task: TextStudentTask) -> IBBert:  # type: ignore[override]
        """Load the model of ``--bert``, or make a new one of the given sizes."""
        check_dropout(cfg.dropout, "ib_bert")
        given = given_sizes(cfg, BottleneckSizes, "ib_bert")
        if cfg.bert:
            masked_lm = load_of_type(cfg.bert, "ib-bert", "ib_bert", "an IB-BERT")
        else:
            sizes = replace(IB_BERT, **given)
            masked_lm = MaskedLM(new_ib_bert(sizes, task.vocabulary_size, task.tokenizer.special.pad))
        masked_lm.check_tokenizer(task.tokenizer)
        masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)


@dataclass
class MobileBertModelConfig(PluginConfig):
    """Flags of ``--arch mobilebert``; the sizes are those of a new model."""

    layers: int | None = size_flag("blocks", MOBILEBERT.layers)
    hidden_size: int | None = size_flag("width of feature maps, the teacher's", MOBILEBERT.hidden_size)
    bottleneck_size: int | None = size_flag("width inside a block", MOBILEBERT.bottleneck_size)
    heads: int | None = size_flag("attention heads, the teacher's", MOBILEBERT.heads)
    ffn_size: int | None = size_flag("width inside a feed-forward network", MOBILEBERT.ffn_size)
    feed_forward_networks: int | None = size_flag("of them in a block", MOBILEBERT.feed_forward_networks)
    embedding_size: int | None = size_flag("width of word embeddings", MOBILEBERT.embedding_size)
    positions: int | None = size_flag("longest input in tokens", MOBILEBERT.positions)
    bottleneck_attention: bool = field(
        default=False, metadata={"help": "attention reads narrowed states alone, as in MobileBERT-tiny"}
    )
    layer_norm: bool = field(
        default=False,
        metadata={
            "help": "LayerNorm and GELU instead of NoNorm and ReLU: the paper's 'w/o OPT', slower on phones"
        },
    )
    random_embeddings: bool = field(
        default=False,
        metadata={"help": "begin with embeddings and head at random, not with the teacher's"},
    )
    dropout: float | None = field(
        default=None,
        metadata={
            "help": "dropout everywhere, in [0, 1); default: as the model has it (a new one: attention 0.1, "
            "else 0); the released code distils without, 0"
        },
    )
    bert: str = II("task.bert")


@register_model("mobilebert", dataclass=MobileBertModelConfig)
class MobileBert(BottleneckMaskedLM):
    """transformers' MobileBERT."""

    @classmethod
    def build_model(cls, cfg: MobileBertModelConfig, task: TextStudentTask) -> MobileBert:  # type: ignore[override]
        """Load the model of ``--bert``, or make a new one that begins with its teacher's embeddings."""
        check_dropout(cfg.dropout, "mobilebert")
        masked_lm = _saved(cfg) if cfg.bert else _new(cfg, task)
        masked_lm.check_tokenizer(task.tokenizer)
        if cfg.dropout is not None:
            masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)


def _saved(cfg: MobileBertModelConfig) -> MaskedLM:
    given_sizes(cfg, BottleneckSizes, "mobilebert")
    for name in ("bottleneck_attention", "layer_norm", "random_embeddings"):
        if getattr(cfg, name):
            refuse_beside_bert(name, "mobilebert")
    return load_of_type(cfg.bert, "mobilebert", "mobilebert", "a MobileBERT")


def _new(cfg: MobileBertModelConfig, task: TextStudentTask) -> MaskedLM:
    model = new_mobilebert(
        BottleneckSizes(**given_sizes(cfg, BottleneckSizes, "mobilebert")),
        task.vocabulary_size,
        task.tokenizer.special.pad,
        bottleneck_attention=cfg.bottleneck_attention,
        layer_norm=cfg.layer_norm,
    )
    if task.teacher is not None and not cfg.random_embeddings:
        copied = inherit_embeddings_and_head(model, task.teacher.model.model)
        logger.info(
            "mobilebert: %s",
            f"{copied} tensors of embeddings and head are the teacher's"
            if copied
            else "embeddings and head begin at random, the teacher's have other sizes",
        )
    return MaskedLM(model)
