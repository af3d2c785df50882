"""``--task masked_lm_kd``: masked language modelling on running text, with or without a teacher."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from cmlm_kd.errors import UserError
from cmlm_kd.masking import MASK_PROBABILITY, check_mask_probability
from cmlm_kd.mlm_masking import MaskingScheme
from cmlm_kd.needs import Needs
from cmlm_kd.signature import TEACHERS
from cmlm_kd.teachers.masked_lm_teacher import load_masked_lm_teacher, vocabulary_hash
from cmlm_kd.tokenized_text import TokenizedText
from cmlm_kd.tokenizers import PieceTokenizer
from fairseq_plugins.data.masked_text import MaskedTextDataset
from fairseq_plugins.tasks.autocast import AutocastMixin, PrecisionConfig
from fairseq_plugins.tasks.finite_loss import FiniteLossMixin
from fairseq_plugins.tasks.masked_lm_teaching import TextTeaching

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
    teacher: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name of a masked language model with the same vocabulary"
        },
    )
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")


@register_task("masked_lm_kd", dataclass=MaskedLMKDConfig)
class MaskedLMKDTask(AutocastMixin, FiniteLossMixin, FairseqTask):
    """``[CLS] line [SEP]`` with hidden pieces, labels in the tokenizer's own vocabulary.

    Attributes:
        kd_level: what its criteria are losses over.
        tokenizer: :class:`cmlm_kd.tokenizers.PieceTokenizer` of student and teacher.
        positions: the longest input; known once the model is built, as are the following.
        student_description: what the student can give.
        teacher_description: the same of the teacher, None without.
    """

    kd_level = "text"
    student_description = None
    teacher_description = None

    def __init__(self, cfg, tokenizer):
        super().__init__(cfg)
        check_mask_probability("masked_lm_kd", cfg.mask_probability)
        self.tokenizer = tokenizer
        self.positions = 0
        self._teaching = TextTeaching(None, cfg.bf16_autocast)

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Load the tokenizer."""
        name = cfg.bert_tokenizer or cfg.bert or cfg.teacher
        if not name:
            raise UserError(
                "masked_lm_kd: a new BERT needs --bert-tokenizer DIR; "
                "'cmlm-kd train-tokenizer' makes one from text"
            )
        return cls(cfg, PieceTokenizer.from_pretrained(name))

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, learn how many positions it has and note its architecture for checkpoints."""
        if self.cfg.teacher:
            self._load_teacher()
        model = super().build_model(cfg, from_checkpoint)
        config = model.config
        self.student_description = model.describe(vocabulary_hash(self.tokenizer.tokenizer))
        self.positions = model.max_positions()
        if self.cfg.max_length:
            if not 3 <= self.cfg.max_length <= self.positions:
                raise UserError(
                    f"masked_lm_kd: --max-length is {self.cfg.max_length}, it must be in "
                    f"[3, {self.positions}], what the model takes"
                )
            self.positions = self.cfg.max_length
        if self._teaching.teacher is not None and self._teaching.teacher.max_length < self.positions:
            raise UserError(
                f"masked_lm_kd: {self.teacher_description.name} takes {self._teaching.teacher.max_length} "
                f"positions, the student up to {self.positions}; pass --max-length "
                f"{self._teaching.teacher.max_length}"
            )
        self.state.merge_state_dict({"bert_config": config.to_json_string(use_diff=False)})
        return model

    def _load_teacher(self):
        teacher = load_masked_lm_teacher(self.cfg.teacher)
        own = vocabulary_hash(self.tokenizer.tokenizer)
        if teacher.description.tokenizer != own:
            raise UserError(
                f"masked_lm_kd: the vocabulary of {teacher.description.name} "
                f"({teacher.description.tokenizer[:8]}) is not the student's ({own[:8]}, "
                f"{len(self.tokenizer)} pieces); give the student the teacher's tokenizer: leave out "
                "--bert-tokenizer, or pass a --bert that has it"
            )
        self._teaching = TextTeaching(teacher, self.cfg.bf16_autocast)
        self.teacher_description = teacher.description
        self.state.merge_state_dict({TEACHERS: [teacher.hash]})

    @property
    def teacher(self):
        """The teacher, :class:`cmlm_kd.teachers.masked_lm_teacher.MaskedLMTeacher`, or None."""
        return self._teaching.teacher

    @property
    def vocabulary_size(self):
        """How many pieces a new student chooses from: as many as its teacher, else as the tokenizer has."""
        teacher = self.teacher_description
        return len(self.tokenizer) if teacher is None else teacher.vocabulary

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the criterion, which looks at student and teacher."""
        criterion = super().build_criterion(cfg, from_checkpoint)
        self._teaching.needs = getattr(criterion, "needs", Needs())
        return criterion

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """Ask the teacher, then train."""
        if hasattr(criterion, "begin_update"):
            criterion.begin_update(update_num, optimizer)  # what is asked of the teacher may change with time
        self._teaching.needs = getattr(criterion, "needs", Needs())
        self._teaching.for_training(sample)
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def valid_step(self, sample, model, criterion):
        """Ask the teacher, then compare."""
        self._teaching.for_validation(sample)
        return super().valid_step(sample, model, criterion)

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
