"""``--arch mobilebert``: MobileBERT students for ``masked_lm_kd``, new ones of any size or saved ones."""

import logging
from dataclasses import dataclass, field, fields
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.students.bottleneck_bert import (
    MOBILEBERT,
    BottleneckSizes,
    inherit_embeddings_and_head,
    name_parameter_groups,
    new_mobilebert,
)
from cmlm_kd.teachers.masked_lm import MaskedLM
from fairseq_plugins.models.bert_masked_lm import BertMaskedLM

logger = logging.getLogger(__name__)


def size(help_, default):
    """Return a flag for one of the sizes of a new model."""
    return field(default=None, metadata={"help": f"{help_}; default: {default}"})


@dataclass
class MobileBertModelConfig(FairseqDataclass):
    """Flags of ``--arch mobilebert``; the sizes are those of a new model."""

    layers: Optional[int] = size("blocks", MOBILEBERT.layers)
    hidden_size: Optional[int] = size("width of feature maps, the teacher's", MOBILEBERT.hidden_size)
    bottleneck_size: Optional[int] = size("width inside a block", MOBILEBERT.bottleneck_size)
    heads: Optional[int] = size("attention heads, the teacher's", MOBILEBERT.heads)
    ffn_size: Optional[int] = size("width inside a feed-forward network", MOBILEBERT.ffn_size)
    feed_forward_networks: Optional[int] = size("of them in a block", MOBILEBERT.feed_forward_networks)
    embedding_size: Optional[int] = size("width of word embeddings", MOBILEBERT.embedding_size)
    positions: Optional[int] = size("longest input in pieces", MOBILEBERT.positions)
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
class MobileBert(BertMaskedLM):
    """transformers' MobileBERT, whose parameters know their layers."""

    def __init__(self, masked_lm):
        super().__init__(masked_lm)
        name_parameter_groups(masked_lm.model)

    @classmethod
    def build_model(cls, cfg, task):
        """Load the model of ``--bert``, or make a new one that begins with its teacher's embeddings."""
        masked_lm = _saved(cfg) if cfg.bert else _new(cfg, task)
        masked_lm.check_tokenizer(task.tokenizer)
        if cfg.dropout is not None:
            if not 0 <= cfg.dropout < 1:
                raise UserError(f"mobilebert: --dropout is {cfg.dropout}, it must be in [0, 1)")
            masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)


def given_sizes(cfg, owner):
    """Return the sizes that are given, by name.

    Raises:
        UserError: if any is, beside ``--bert``.
    """
    every = {each.name: getattr(cfg, each.name, None) for each in fields(BottleneckSizes)}
    given = {name: value for name, value in every.items() if value is not None}
    if cfg.bert and given:
        flag = next(iter(given)).replace("_", "-")
        raise UserError(f"{owner}: --{flag} is the size of a new model; leave it out or leave out --bert")
    return given


def _saved(cfg):
    given_sizes(cfg, "mobilebert")
    for name in ("bottleneck_attention", "layer_norm", "random_embeddings"):
        if getattr(cfg, name):
            flag = name.replace("_", "-")
            raise UserError(f"mobilebert: --{flag} is for a new model; leave it out or leave out --bert")
    masked_lm = MaskedLM.from_pretrained(cfg.bert)
    if masked_lm.config.model_type != "mobilebert":
        raise UserError(
            f"mobilebert: {cfg.bert!r} is a {masked_lm.config.model_type} model; give a MobileBERT, or take "
            "--arch bert_masked_lm"
        )
    return masked_lm


def _new(cfg, task):
    model = new_mobilebert(
        BottleneckSizes(**given_sizes(cfg, "mobilebert")),
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
