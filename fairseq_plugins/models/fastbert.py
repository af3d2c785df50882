"""``--arch fastbert``: a Hugging Face encoder with a classifier on each of its layers."""

from dataclasses import dataclass, field
from pathlib import Path

from fairseq.models import register_model

from cmlm_kd.api.needs import Needs
from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import REQUIRED_TOKENS
from cmlm_kd.models.fastbert.branch import BranchSettings
from cmlm_kd.models.fastbert.model import ARCHITECTURE, FastBERTClassifier
from cmlm_kd.models.fastbert.start import check_same_model, start_fastbert
from cmlm_kd.tokenization.loading import load_tokenizer
from fairseq_plugins.models.classifier import SentenceClassifierModel, SentenceStudentTask
from fairseq_plugins.models.flags import check_dropout, check_encoder_given
from fairseq_plugins.training.starting_point import StartingPointConfig, starting_checkpoint, state_of_start


@dataclass
class FastBERTModelConfig(StartingPointConfig):
    """Flags of ``--arch fastbert``; sizes default to the paper's."""

    bert: str = field(
        default="", metadata={"help": "Hugging Face directory or hub name of the encoder to start from"}
    )
    layers: int = field(default=0, metadata={"help": "keep the first so many layers, 2 or more; 0: all"})
    dropout: float | None = field(
        default=None, metadata={"help": "dropout of the encoder, in [0, 1); default: as the encoder has it"}
    )
    branch_size: int = field(
        default=BranchSettings.size, metadata={"help": "width of the classifiers, a multiple of their heads"}
    )
    branch_heads: int = field(
        default=BranchSettings.heads, metadata={"help": "attention heads of the classifiers, 1 or more"}
    )
    branch_dropout: float = field(
        default=BranchSettings.dropout,
        metadata={"help": "dropout of the classifiers' attention, in [0, 1)"},
    )


@register_model(ARCHITECTURE, dataclass=FastBERTModelConfig)
class FastBERTModel(SentenceClassifierModel):
    """Adapter of :class:`cmlm_kd.models.fastbert.model.FastBERTClassifier`.

    Args:
        classifier: the model.
        start: the FastBERT checkpoint that fairseq will load into it; None for a model that starts from a
            pre-trained encoder, whose classifiers are random.
    """

    classifier: FastBERTClassifier

    def __init__(self, classifier: FastBERTClassifier, start: Path | None = None) -> None:
        super().__init__(classifier)
        self.start = start

    @classmethod
    def build_model(cls, cfg: FastBERTModelConfig, task: SentenceStudentTask) -> "FastBERTModel":
        """Start from an encoder, or make the architecture that a checkpoint describes."""
        check_encoder_given(cfg.bert, "fastbert")
        check_dropout(cfg.dropout, "fastbert")
        described = task.from_checkpoint(ARCHITECTURE)
        if described is not None:
            return cls(FastBERTClassifier.from_state(described, load_tokenizer(cfg.bert, REQUIRED_TOKENS)))
        classifier = start_fastbert(
            cfg.bert,
            task.labels,
            layers=cfg.layers,
            branches=BranchSettings(cfg.branch_size, cfg.branch_heads, cfg.branch_dropout),
            dropout=cfg.dropout,
            max_length=task.max_length,
        )
        classifier.reads_pairs = task.is_pair
        start = starting_checkpoint(cfg)
        if start is not None:
            earlier = state_of_start(cfg).get(ARCHITECTURE)
            if earlier is None:
                raise UserError(f"fastbert: {start} is no checkpoint of --arch fastbert; give one that is")
            check_same_model(earlier, classifier, str(start))
        return cls(classifier, start)

    def begin_training(self, needs: Needs) -> dict[str, str]:
        """Freeze what a criterion does not train; returns what its checkpoints must carry.

        Raises:
            UserError: if branches are to learn from a teacher classifier that was never trained.
        """
        if needs.student.exits and self.start is None:
            raise UserError(
                "fastbert: the teacher classifier is random, so that branches would learn nothing from it; "
                "train it first with --criterion sentence_classification, and give that run's "
                "checkpoint_best.pt as --finetune-from-model"
            )
        self.classifier.begin_training(needs)
        return {ARCHITECTURE: self.classifier.state_of_architecture()}
