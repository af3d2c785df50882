"""``--arch distilbert``: a DistilBERT for ``masked_lm_kd`` that begins as chosen layers of a BERT."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import register_model
from omegaconf import II

from cmlm_kd.errors import UserError
from cmlm_kd.models.inherit import distilbert_from_bert, parse_layers
from cmlm_kd.models.masked_lm import MaskedLM
from fairseq_plugins.models.bert_masked_lm import BertMaskedLM
from fairseq_plugins.models.flags import check_dropout


@dataclass
class DistilBertMaskedLMConfig(FairseqDataclass):
    """Flags of ``--arch distilbert``; the BERT to begin with is that of ``--bert``, else the teacher."""

    init_layers: str = field(
        default="0,2,4,7,9,11",
        metadata={"help": "layers of the BERT to begin with, counted from 0, separated by commas"},
    )
    init_mode: ChoiceEnum(["paper", "original"]) = field(
        default="paper",
        metadata={
            "help": "paper: positions are learnt, and have the first token type's embedding added; original: "
            "they stay the BERT's, and the token type is dropped, as the released scripts have it"
        },
    )
    dropout: Optional[float] = field(
        default=None, metadata={"help": "dropout everywhere, in [0, 1); default: as the BERT has it"}
    )
    bert: str = II("task.bert")
    teacher: str = II("task.teacher")


@register_model("distilbert", dataclass=DistilBertMaskedLMConfig)
class DistilBertMaskedLM(BertMaskedLM):
    """transformers' ``DistilBertForMaskedLM``; see :func:`cmlm_kd.models.inherit.distilbert_from_bert`."""

    @classmethod
    def build_model(cls, cfg, task):
        """Take the layers out of the BERT."""
        check_dropout(cfg, "distilbert")
        name = cfg.bert or cfg.teacher
        if not name:
            raise UserError("distilbert: there is no BERT to begin with; name one with --bert or --teacher")
        bert = MaskedLM.from_pretrained(name, with_head=True).model
        original = str(cfg.init_mode) == "original"
        student = distilbert_from_bert(
            bert,
            parse_layers(cfg.init_layers, bert.config.num_hidden_layers, "distilbert: --init-layers"),
            fold_token_types=not original,
            freeze_positions=original,
        )
        masked_lm = MaskedLM(student)
        masked_lm.check_tokenizer(task.tokenizer)
        if cfg.dropout is not None:
            masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)
