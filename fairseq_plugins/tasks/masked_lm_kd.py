"""``--task masked_lm_kd``: masked language modelling on unlabelled text, with or without a teacher."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask, register_task

from cmlm_kd.api.needs import ModelDescription, Needs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG, TEACHERS, VOCABULARY_HASH
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher, load_masked_lm_teacher
from cmlm_kd.tokenization.loading import vocabulary_hash
from cmlm_kd.tokenization.pieces import PieceTokenizer
from fairseq_plugins.data.unlabelled_text import UnlabelledText, UnlabelledTextConfig
from fairseq_plugins.tasks.finite_loss import FiniteLossMixin
from fairseq_plugins.tasks.masked_lm_teaching import TextTeaching
from fairseq_plugins.training.criterion_of_task import check_kind_of_criterion
from fairseq_plugins.training.precision import AutocastMixin, PrecisionConfig, StepResult


@dataclass
class MaskedLMKDConfig(UnlabelledTextConfig, PrecisionConfig):
    """Flags of ``--task masked_lm_kd``."""

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
    teacher: str = field(
        default="",
        metadata={
            "help": "Hugging Face directory or hub name of a masked language model with the same vocabulary"
        },
    )


@register_task("masked_lm_kd", dataclass=MaskedLMKDConfig)
class MaskedLMKDTask(AutocastMixin, FiniteLossMixin, FairseqTask):
    """``[CLS] line [SEP]`` with masked tokens, labels in the tokenizer's own vocabulary.

    Attributes:
        kd_level: what its criteria are losses over.
        tokenizer: :class:`cmlm_kd.tokenization.pieces.PieceTokenizer` of student and teacher.
        positions: the longest input; known once the model is built, as are the following.
        student_description: what the student can give.
        teacher_description: the same of the teacher, None without.
    """

    kd_level = "text"
    student_description: ModelDescription | None = None
    teacher_description: ModelDescription | None = None

    def __init__(self, cfg: MaskedLMKDConfig, tokenizer: PieceTokenizer) -> None:
        super().__init__(cfg)
        self.tokenizer = tokenizer
        self._text = UnlabelledText(cfg, tokenizer)
        self.positions = 0
        self._teacher: MaskedLMTeacher | None = None
        self._teaching = TextTeaching(None, cfg.bf16_autocast)

    @classmethod
    def setup_task(cls, cfg: MaskedLMKDConfig, **kwargs: Any) -> "MaskedLMKDTask":
        """Load the tokenizer."""
        name = cfg.bert_tokenizer or cfg.bert or cfg.teacher
        if not name:
            raise UserError(
                "masked_lm_kd: a new BERT needs --bert-tokenizer DIR; "
                "'cmlm-kd train-tokenizer' makes one from text"
            )
        tokenizer = PieceTokenizer.from_pretrained(name)
        if cfg.bert and cfg.bert_tokenizer:
            _refuse_renamed_tokens(cfg, tokenizer)
        return cls(cfg, tokenizer)

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
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
        teacher = self._teacher
        if teacher is not None and teacher.max_length < self.positions:
            raise UserError(
                f"masked_lm_kd: {teacher.description.name} takes {teacher.max_length} positions, the student "
                f"up to {self.positions}; pass --max-length {teacher.max_length}"
            )
        self.state.merge_state_dict({BERT_CONFIG: config.to_json_string(use_diff=False), **self.entries})
        return model

    def _load_teacher(self) -> None:
        teacher = load_masked_lm_teacher(self.cfg.teacher)
        own = vocabulary_hash(self.tokenizer.tokenizer)
        if teacher.description.tokenizer != own:
            raise UserError(
                f"masked_lm_kd: the vocabulary of {teacher.description.name} "
                f"({teacher.description.tokenizer[:8]}) is not the student's ({own[:8]}, "
                f"{len(self.tokenizer)} tokens); begin with a --bert that has the teacher's tokens, or with "
                "a new model: leave out --bert and --bert-tokenizer"
            )
        self._teacher = teacher
        self._teaching = TextTeaching(teacher, self.cfg.bf16_autocast)
        self.teacher_description = teacher.description
        self.state.merge_state_dict({TEACHERS: teacher.hashes})

    @property
    def entries(self) -> dict[str, str]:
        """What the ids stand for: checkpoints carry it, and one with another is not gone on from."""
        return {VOCABULARY_HASH: vocabulary_hash(self.tokenizer.tokenizer)}

    @property
    def teacher(self) -> MaskedLMTeacher | None:
        """The teacher, :class:`cmlm_kd.teachers.masked_lm.MaskedLMTeacher`, or None."""
        return self._teacher

    @property
    def vocabulary_size(self) -> int:
        """How many tokens a new student chooses from: as many as its teacher, else as the tokenizer has."""
        teacher = self.teacher_description
        return len(self.tokenizer) if teacher is None else teacher.vocabulary

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, which looks at student and teacher."""
        check_kind_of_criterion(self, "text", cfg._name)
        criterion = super().build_criterion(cfg, from_checkpoint)
        self._teaching.needs = getattr(criterion, "needs", Needs())
        self._text.check(cfg._name, self._teaching.needs)
        return criterion

    def before_step(self, sample: dict[str, Any], criterion: FairseqCriterion) -> None:
        """Ask the teacher what the criterion reads at this update."""
        self._teaching.needs = getattr(criterion, "needs", Needs())
        self._teaching.for_training(sample)

    def valid_step(
        self, sample: dict[str, Any], model: BaseFairseqModel, criterion: FairseqCriterion
    ) -> StepResult:
        """Ask the teacher, then compare."""
        self._teaching.for_validation(sample)
        return super().valid_step(sample, model, criterion)

    def has_sharded_data(self, split: str) -> bool:
        """Return whether every epoch has a shard of its own."""
        return split == "train" and self._text.open(split, self.positions - 2).shards > 1

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Load the epoch's shard of ``train``, or ``valid``; text is cut into tokens the first time."""
        if split not in ("train", "valid"):
            raise FileNotFoundError(f"masked_lm_kd has no split {split!r}, only train and valid")
        # Until it has the new shard, fairseq holds the last one: two are in memory for a moment.
        self.datasets[split] = self._text.dataset(split, epoch, self.positions - 2)

    def max_positions(self) -> int:
        """Return how long a framed line may be."""
        return self.positions

    @property
    def source_dictionary(self) -> None:
        """There is none: the model reads its tokenizer's ids."""
        return None

    @property
    def target_dictionary(self) -> None:
        """There is none: labels are the tokenizer's ids."""
        return None


def _refuse_renamed_tokens(cfg: MaskedLMKDConfig, tokenizer: PieceTokenizer) -> None:
    """Refuse a model with a tokenizer of its own whose embeddings stand for other tokens."""
    try:
        own = PieceTokenizer.from_pretrained(cfg.bert)
    except UserError:
        return  # it has none, which is what --bert-tokenizer is for
    if vocabulary_hash(own.tokenizer) != vocabulary_hash(tokenizer.tokenizer):
        raise UserError(
            f"masked_lm_kd: the embeddings of --bert {cfg.bert} are of the tokens of its own tokenizer, "
            f"which --bert-tokenizer {cfg.bert_tokenizer} does not have; leave out --bert-tokenizer, or "
            "begin with a new model without --bert"
        )
