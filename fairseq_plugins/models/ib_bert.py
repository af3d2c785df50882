"""``--arch ib_bert``: MobileBERT's teacher, to be trained by ``bert_mlm``; new of any size, or saved."""

from dataclasses import dataclass, field, replace
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.students.bottleneck_bert import IB_BERT, name_parameter_groups, new_ib_bert
from cmlm_kd.teachers.masked_lm import MaskedLM
from fairseq_plugins.models.bert_masked_lm import BertMaskedLM
from fairseq_plugins.models.mobilebert import given_sizes, size


@dataclass
class IBBertModelConfig(FairseqDataclass):
    """Flags of ``--arch ib_bert``; the sizes are those of a new model."""

    layers: Optional[int] = size("blocks", IB_BERT.layers)
    hidden_size: Optional[int] = size("width of feature maps, the student's", IB_BERT.hidden_size)
    bottleneck_size: Optional[int] = size("width inside a block", IB_BERT.bottleneck_size)
    heads: Optional[int] = size("attention heads, the student's", IB_BERT.heads)
    ffn_size: Optional[int] = size("width inside the feed-forward network", IB_BERT.ffn_size)
    embedding_size: Optional[int] = size("width of word embeddings", IB_BERT.embedding_size)
    positions: Optional[int] = size("longest input in pieces", IB_BERT.positions)
    dropout: float = field(default=0.1, metadata={"help": "dropout everywhere, in [0, 1)"})
    bert: str = II("task.bert")


@register_model("ib_bert", dataclass=IBBertModelConfig)
class IBBert(BertMaskedLM):
    """:class:`cmlm_kd.teachers.ib_bert.IBBertForMaskedLM`, whose parameters know their layers."""

    def __init__(self, masked_lm):
        super().__init__(masked_lm)
        name_parameter_groups(masked_lm.model)

    @classmethod
    def build_model(cls, cfg, task):
        """Load the model of ``--bert``, or make a new one of the given sizes."""
        if not 0 <= cfg.dropout < 1:
            raise UserError(f"ib_bert: --dropout is {cfg.dropout}, it must be in [0, 1)")
        given = given_sizes(cfg, "ib_bert")
        if cfg.bert:
            masked_lm = MaskedLM.from_pretrained(cfg.bert)
            if masked_lm.config.model_type != "ib-bert":
                raise UserError(
                    f"ib_bert: {cfg.bert!r} is a {masked_lm.config.model_type} model; give an IB-BERT, or "
                    "take --arch bert_masked_lm"
                )
        else:
            sizes = replace(IB_BERT, **given)
            masked_lm = MaskedLM(new_ib_bert(sizes, task.vocabulary_size, task.tokenizer.special.pad))
        masked_lm.check_tokenizer(task.tokenizer)
        masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)
