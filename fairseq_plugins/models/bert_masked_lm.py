"""``--arch bert_masked_lm``: any Hugging Face masked language model, or a new BERT."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II

from cmlm_kd.api.needs import NOTHING_ELSE
from cmlm_kd.errors import UserError
from cmlm_kd.models.inherit import parse_layers, shallower
from cmlm_kd.models.masked_lm import BertSizes, MaskedLM
from cmlm_kd.tokenization.positions import usable_positions
from fairseq_plugins.models.flags import check_dropout, given_sizes


@dataclass
class BertMaskedLMConfig(FairseqDataclass):
    """Flags of ``--arch bert_masked_lm``; the sizes are those of a new BERT."""

    layers: Optional[int] = field(default=None, metadata={"help": f"layers; default: {BertSizes.layers}"})
    hidden_size: Optional[int] = field(default=None, metadata={"help": f"default: {BertSizes.hidden_size}"})
    heads: Optional[int] = field(
        default=None, metadata={"help": f"attention heads; default: {BertSizes.heads}"}
    )
    ffn_size: Optional[int] = field(
        default=None,
        metadata={"help": f"width inside the feed-forward blocks; default: {BertSizes.ffn_size}"},
    )
    positions: Optional[int] = field(
        default=None, metadata={"help": f"longest input in pieces; default: {BertSizes.positions}"}
    )
    init_layers: str = field(
        default="",
        metadata={"help": "keep these layers of --bert, counted from 0, separated by commas; default: all"},
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout everywhere, in [0, 1)"})
    bert: str = II("task.bert")


@register_model("bert_masked_lm", dataclass=BertMaskedLMConfig)
class BertMaskedLM(BaseFairseqModel):
    """Adapter of :class:`cmlm_kd.models.masked_lm.MaskedLM`."""

    def __init__(self, masked_lm):
        super().__init__()
        self.masked_lm = masked_lm

    @classmethod
    def build_model(cls, cfg, task):
        """Load the model of ``--bert``, or make a new one of the given sizes."""
        check_dropout(cfg, "bert_masked_lm")
        sizes = given_sizes(cfg, BertSizes, "bert_masked_lm")
        if cfg.init_layers and not cfg.bert:
            raise UserError("bert_masked_lm: --init-layers are layers of --bert, which is missing")
        if cfg.bert:
            masked_lm = MaskedLM.from_pretrained(cfg.bert)
            if cfg.init_layers:
                depth = masked_lm.config.num_hidden_layers
                layers = parse_layers(cfg.init_layers, depth, "bert_masked_lm: --init-layers")
                masked_lm = MaskedLM(shallower(masked_lm.model, layers))
        else:
            masked_lm = MaskedLM.from_sizes(BertSizes(**sizes), task.tokenizer, task.vocabulary_size)
        masked_lm.check_tokenizer(task.tokenizer)
        masked_lm.set_dropout(cfg.dropout)
        return cls(masked_lm)

    @property
    def config(self):
        """The Hugging Face configuration, which checkpoints carry."""
        return self.masked_lm.config

    def describe(self, tokenizer):
        """Return what it can give, as :class:`cmlm_kd.api.needs.ModelDescription`.

        Args:
            tokenizer: hash of the tokenizer's vocabulary.
        """
        return self.masked_lm.describe(f"student {self.config.model_type}", tokenizer)

    def forward(self, input_ids, attention_mask, masked_index, request=NOTHING_ELSE):
        """Return :class:`cmlm_kd.api.criterion.ModelOutput` with what is asked for."""
        return self.masked_lm.observe(input_ids, attention_mask, masked_index, request)

    def max_positions(self):
        """Return how long a framed line may be."""
        return usable_positions(self.masked_lm.config)
