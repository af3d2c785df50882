"""Students of unlabelled text, new or from saved BERTs: ``--arch bert_masked_lm``, ``--arch distilbert``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II
from torch import Tensor

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Request
from cmlm_kd.errors import UserError
from cmlm_kd.models.inherit import distilbert_from_bert, parse_layers, shallower
from cmlm_kd.models.masked_lm import BertSizes, MaskedLM
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.positions import usable_positions
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.models.flags import check_dropout, given_sizes


class TextStudentTask(Protocol):
    """Everything that a student of unlabelled text asks of the task that it is built for.

    Attributes:
        tokenizer: of student and teacher.
    """

    tokenizer: PieceTokenizer

    @property
    def vocabulary_size(self) -> int:
        """How many tokens a new student chooses from."""

    @property
    def teacher(self) -> MaskedLMTeacher | None:
        """The teacher, if there is one."""


@dataclass
class BertMaskedLMConfig(PluginConfig):
    """Flags of ``--arch bert_masked_lm``; the sizes are those of a new BERT."""

    layers: int | None = field(default=None, metadata={"help": f"layers; default: {BertSizes.layers}"})
    hidden_size: int | None = field(default=None, metadata={"help": f"default: {BertSizes.hidden_size}"})
    heads: int | None = field(default=None, metadata={"help": f"attention heads; default: {BertSizes.heads}"})
    ffn_size: int | None = field(
        default=None,
        metadata={"help": f"width inside the feed-forward blocks; default: {BertSizes.ffn_size}"},
    )
    positions: int | None = field(
        default=None, metadata={"help": f"longest input in tokens; default: {BertSizes.positions}"}
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

    def __init__(self, masked_lm: MaskedLM) -> None:
        super().__init__()
        self.masked_lm = masked_lm

    @classmethod
    def build_model(cls, cfg: BertMaskedLMConfig, task: TextStudentTask) -> BertMaskedLM:
        """Load the model of ``--bert``, or make a new one of the given sizes."""
        check_dropout(cfg.dropout, "bert_masked_lm")
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
    def config(self) -> Any:
        """The Hugging Face configuration, which checkpoints carry."""
        return self.masked_lm.config

    def describe(self, tokenizer: str) -> ModelDescription:
        """Return what it can give, as :class:`cmlm_kd.api.needs.ModelDescription`.

        Args:
            tokenizer: hash of the tokenizer's vocabulary.
        """
        return self.masked_lm.describe(f"student {self.config.model_type}", tokenizer)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        masked_index: Tensor,
        request: Request = NOTHING_ELSE,
    ) -> ModelOutput:
        """Return :class:`cmlm_kd.api.model_output.ModelOutput` with what is asked for."""
        return self.masked_lm.observe(input_ids, attention_mask, masked_index, request)

    def max_positions(self) -> int:
        """Return how long a framed line may be."""
        return usable_positions(self.masked_lm.config)


@dataclass
class DistilBertMaskedLMConfig(PluginConfig):
    """Flags of ``--arch distilbert``; the BERT to begin with is that of ``--bert``, else the teacher."""

    init_layers: str = field(
        default="0,2,4,7,9,11",
        metadata={"help": "layers of the BERT to begin with, counted from 0, separated by commas"},
    )
    init_mode: Literal["paper", "original"] = field(
        default="paper",
        metadata={
            "help": "paper: positions are learnt, and have the first token type's embedding added; original: "
            "they stay the BERT's, and the token type is dropped, as the released scripts have it"
        },
    )
    dropout: float | None = field(
        default=None, metadata={"help": "dropout everywhere, in [0, 1); default: as the BERT has it"}
    )
    bert: str = II("task.bert")
    teacher: str = II("task.teacher")


@register_model("distilbert", dataclass=DistilBertMaskedLMConfig)
class DistilBertMaskedLM(BertMaskedLM):
    """transformers' ``DistilBertForMaskedLM``; see :func:`cmlm_kd.models.inherit.distilbert_from_bert`."""

    @classmethod
    def build_model(cls, cfg: DistilBertMaskedLMConfig, task: TextStudentTask) -> DistilBertMaskedLM:  # type: ignore[override]
        """Take the layers out of the BERT."""
        check_dropout(cfg.dropout, "distilbert")
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
