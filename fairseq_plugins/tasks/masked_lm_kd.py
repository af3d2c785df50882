"""``--task masked_lm_kd``: masked language modelling on plain text."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from cmlm_kd.errors import UserError
from cmlm_kd.masking import MASK_PROBABILITY, check_mask_probability
from cmlm_kd.mlm_masking import MaskingScheme
from cmlm_kd.teachers.positions import usable_positions
from cmlm_kd.tokenized_text import TokenizedText
from cmlm_kd.tokenizers import PieceTokenizer
from fairseq_plugins.data.masked_text import MaskedTextDataset
from fairseq_plugins.tasks.autocast import AutocastMixin, PrecisionConfig

logger = logging.getLogger(__name__)


@dataclass
class MaskedLMKDConfig(PrecisionConfig):
    """Flags of ``--task masked_lm_kd``."""

    data: str = field(
        default=MISSING, metadata={"help": "folder of plain text files, one sentence a line (.gz too)"}
    )
    train_text: str = field(
        default="train.txt",
        metadata={"help": "files to train on, relative to the folder, separated by commas"},
    )
    valid_text: str = field(
        default="valid.txt",
        metadata={"help": "files to validate on, relative to the folder, separated by commas"},
    )
    bert: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name of the model to go on from; default: a new BERT"
        },
    )
    bert_tokenizer: str = field(
        default="",
        metadata={"help": "Hugging Face directory or hub name of the tokenizer; default: that of --bert"},
    )
    max_length: int = field(
        default=0,
        metadata={
            "help": "cut lines to so many positions, [CLS] and [SEP] included; 0: what the model takes"
        },
    )
    mask_probability: float = field(
        default=MASK_PROBABILITY, metadata={"help": "share of the pieces to predict, in (0, 1]"}
    )
    seed: int = II("common.seed")


@register_task("masked_lm_kd", dataclass=MaskedLMKDConfig)
class MaskedLMKDTask(AutocastMixin, FairseqTask):
    """``[CLS] line [SEP]`` with hidden pieces, labels in the tokenizer's own vocabulary."""

    def __init__(self, cfg, tokenizer):
        super().__init__(cfg)
        check_mask_probability("masked_lm_kd", cfg.mask_probability)
        self.tokenizer = tokenizer
        self.positions = 0  # known once the model is built

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Load the tokenizer."""
        name = cfg.bert_tokenizer or cfg.bert
        if not name:
            raise UserError(
                "masked_lm_kd: a new BERT needs --bert-tokenizer DIR; "
                "'cmlm-kd train-tokenizer' makes one from text"
            )
        return cls(cfg, PieceTokenizer.from_pretrained(name))

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, learn how many positions it has and note its architecture for checkpoints."""
        model = super().build_model(cfg, from_checkpoint)
        config = model.masked_lm.config
        self.positions = usable_positions(config)
        if self.cfg.max_length:
            if not 3 <= self.cfg.max_length <= self.positions:
                raise UserError(
                    f"masked_lm_kd: --max-length is {self.cfg.max_length}, it must be in "
                    f"[3, {self.positions}], what the model takes"
                )
            self.positions = self.cfg.max_length
        self.state.merge_state_dict({"bert_config": config.to_json_string(use_diff=False)})
        return model

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Tokenise the files of ``train`` or ``valid``."""
        names = {"train": self.cfg.train_text, "valid": self.cfg.valid_text}.get(split)
        if names is None:
            raise FileNotFoundError(f"masked_lm_kd has no split {split!r}, only train and valid")
        paths = [Path(self.cfg.data) / name for name in names.split(",")]
        text = TokenizedText.read(paths, self.tokenizer, self.positions - 2)
        logger.info("%s: %d lines, %d pieces", split, len(text), text.sizes.sum())
        if text.truncated:
            logger.warning(
                "%s: %d lines exceed %d positions and are cut", split, text.truncated, self.positions
            )
        training = split == "train"
        self.datasets[split] = MaskedTextDataset(
            text,
            self.tokenizer.special,
            self._masking_scheme(),
            seed=self.cfg.seed if training else 1,
            fixed_masks=not training,
        )

    def _masking_scheme(self):
        special = self.tokenizer.tokenizer.all_special_ids
        ordinary = np.setdiff1d(np.arange(len(self.tokenizer), dtype=np.int32), special)  # (n,)
        return MaskingScheme(self.tokenizer.special.mask, ordinary, self.cfg.mask_probability)

    def max_positions(self):
        """Return how long a framed line may be."""
        return self.positions

    @property
    def source_dictionary(self):
        """There is none: the model reads its tokenizer's ids."""
        return None

    @property
    def target_dictionary(self):
        """There is none: labels are the tokenizer's ids."""
        return None
