"""``--arch mobilebert``: MobileBERT students for ``masked_lm_kd``, new ones of any size or saved ones."""

import logging
from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.models.bottleneck_bert import (
    MOBILEBERT,
    BottleneckSizes,
    inherit_embeddings_and_head,
    new_mobilebert,
)
from cmlm_kd.models.masked_lm import MaskedLM
from fairseq_plugins.models.bottleneck_masked_lm import BottleneckMaskedLM, load_of_type, size_flag
from fairseq_plugins.models.flags import check_dropout, given_sizes, refuse_beside_bert

logger = logging.getLogger(__name__)


@dataclass
class MobileBertModelConfig(FairseqDataclass):
    """Flags of ``--arch mobilebert``; the sizes are those of a new model."""

    layers: Optional[int] = size_flag("blocks", MOBILEBERT.layers)
    hidden_size: Optional[int] = size_flag("width of feature maps, the teacher's", MOBILEBERT.hidden_size)
    bottleneck_size: Optional[int] = size_flag("width inside a block", MOBILEBERT.bottleneck_size)
    heads: Optional[int] = size_flag("attention heads, the teacher's", MOBILEBERT.heads)
    ffn_size: Optional[int] = size_flag("width inside a feed-forward network", MOBILEBERT.ffn_size)
    feed_forward_networks: Optional[int] = size_flag("of them in a block", MOBILEBERT.feed_forward_networks)
    embedding_size: Optional[int] = size_flag("width of word embeddings", MOBILEBERT.embedding_size)
    positions: Optional[int] = size_flag("longest input in pieces", MOBILEBERT.positions)
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
    dropout: Optional[float] = field(
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
    def build_model(cls, cfg, task):
        """Load the model of ``--bert``, or make a new one that begins with its teacher's embeddings."""
        check_dropout(cfg, "mobilebert")
        masked_lm = _saved(cfg) if cfg.bert else _new(cfg, task)
        masked_lm.check_tokenizer(task.tokenizer)
        if cfg.dropout is not None:
            masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)


def _saved(cfg):
    given_sizes(cfg, BottleneckSizes, "mobilebert")
    for name in ("bottleneck_attention", "layer_norm", "random_embeddings"):
        if getattr(cfg, name):
            refuse_beside_bert(name, "mobilebert")
    return load_of_type(cfg.bert, "mobilebert", "mobilebert", "a MobileBERT")


def _new(cfg, task):
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
