"""``--arch ib_bert``: MobileBERT's teacher, to be trained by ``bert_mlm``; new of any size, or saved."""

from dataclasses import dataclass, field, replace
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.models.bottleneck_bert import IB_BERT, BottleneckSizes, new_ib_bert
from cmlm_kd.models.masked_lm import MaskedLM
from fairseq_plugins.models.bottleneck_masked_lm import BottleneckMaskedLM, load_of_type, size_flag
from fairseq_plugins.models.flags import check_dropout, given_sizes


@dataclass
class IBBertModelConfig(FairseqDataclass):
    """Flags of ``--arch ib_bert``; the sizes are those of a new model."""

    layers: Optional[int] = size_flag("blocks", IB_BERT.layers)
    hidden_size: Optional[int] = size_flag("width of feature maps, the student's", IB_BERT.hidden_size)
    bottleneck_size: Optional[int] = size_flag("width inside a block", IB_BERT.bottleneck_size)
    heads: Optional[int] = size_flag("attention heads, the student's", IB_BERT.heads)
    ffn_size: Optional[int] = size_flag("width inside the feed-forward network", IB_BERT.ffn_size)
    embedding_size: Optional[int] = size_flag("width of word embeddings", IB_BERT.embedding_size)
    positions: Optional[int] = size_flag("longest input in pieces", IB_BERT.positions)
    dropout: float = field(default=0.1, metadata={"help": "dropout everywhere, in [0, 1)"})
    bert: str = II("task.bert")


@register_model("ib_bert", dataclass=IBBertModelConfig)
class IBBert(BottleneckMaskedLM):
    """:class:`cmlm_kd.models.encoders.ib_bert.IBBertForMaskedLM`."""

    @classmethod
    def build_model(cls, cfg, task):
        """Load the model of ``--bert``, or make a new one of the given sizes."""
        check_dropout(cfg, "ib_bert")
        given = given_sizes(cfg, BottleneckSizes, "ib_bert")
        if cfg.bert:
            masked_lm = load_of_type(cfg.bert, "ib-bert", "ib_bert", "an IB-BERT")
        else:
            sizes = replace(IB_BERT, **given)
            masked_lm = MaskedLM(new_ib_bert(sizes, task.vocabulary_size, task.tokenizer.special.pad))
        masked_lm.check_tokenizer(task.tokenizer)
        masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)
