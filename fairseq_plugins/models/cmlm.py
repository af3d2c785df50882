"""``--arch bert_cmlm``: a Hugging Face encoder with an output layer over the student's vocabulary."""

from dataclasses import dataclass, field
from typing import Protocol

from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from cmlm_kd.data.translation.pairs import PairBatch
from cmlm_kd.errors import UserError
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.tokenization.loading import load_tokenizer, serialized_hash
from cmlm_kd.tokenization.positions import usable_positions
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.data.prepared import PreparedData
from fairseq_plugins.models.flags import check_dropout


class PreparedTask(Protocol):
    """A task over data that ``cmlm-kd prepare`` has written."""

    prepared: PreparedData


@dataclass
class BertCMLMConfig(PluginConfig):
    """Flags of ``--arch bert_cmlm``."""

    bert: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name; default: the teacher the data were prepared with"
        },
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout everywhere in the encoder, in [0, 1)"})


@register_model("bert_cmlm", dataclass=BertCMLMConfig)
class BertCMLM(BaseFairseqModel):
    """Adapter of :class:`cmlm_kd.models.cmlm.ConditionalMaskedLM`."""

    def __init__(self, teacher: ConditionalMaskedLM) -> None:
        super().__init__()
        self.teacher = teacher

    @classmethod
    def build_model(cls, cfg: BertCMLMConfig, task: PreparedTask) -> "BertCMLM":
        """Start from a pre-trained encoder whose tokenizer is that of the data."""
        check_dropout(cfg.dropout, "bert_cmlm")
        prepared = task.prepared
        name = cfg.bert or prepared.manifest.teacher
        if not cfg.bert and not (prepared.path / "teacher" / "config.json").is_file():
            raise UserError(
                f"bert_cmlm: {prepared.path} was prepared with a tokenizer alone, {name}; name the BERT that "
                "has it with --bert"
            )
        if serialized_hash(load_tokenizer(name)) != prepared.manifest.tokenizer.hash:
            raise UserError(
                f"bert_cmlm: the tokenizer of {name!r} is not the one {prepared.path} was prepared with "
                f"({prepared.manifest.teacher!r}); prepare the data with this teacher"
            )
        teacher = ConditionalMaskedLM.from_pretrained(name, prepared.pair_format.target_ids)
        teacher.set_dropout(cfg.dropout)
        return cls(teacher)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, masked_index: Tensor
    ) -> Tensor:
        """Return logits at the masked positions, ``(M, V)``."""
        return self.teacher(PairBatch(input_ids, attention_mask, token_type_ids, masked_index, masked_index))

    def max_positions(self) -> int:
        """Return how long a framed pair may be."""
        return usable_positions(self.teacher.encoder.config)
