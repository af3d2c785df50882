"""``--arch bilstm_classifier``: a BiLSTM that reads words, for ``--task classification_kd``."""

from dataclasses import dataclass, field, fields
from typing import Literal, cast

from fairseq.models import register_model

from cmlm_kd.models.bilstm.building import BiLSTMOptions, build_bilstm
from cmlm_kd.models.bilstm.model import ARCHITECTURE, BiLSTMClassifier, EmbeddingMode
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.models.classifier import SentenceClassifierModel, SentenceStudentTask

NO_LIMIT = 1_000_000
"""Longest input, in words, as fairseq is told where there is no limit."""


@dataclass
class BiLSTMClassifierConfig(PluginConfig):
    """Flags of ``--arch bilstm_classifier``; sizes default to those of the released code for SST-2."""

    word_vectors: str = field(
        default="",
        metadata={
            "help": "file of word vectors (GloVe's text format, or NAME.npy with its words in NAME.txt), or "
            "'teacher' for the teacher's own word embeddings; default: random vectors"
        },
    )
    embeddings: Literal["auto", "static", "non-static", "multichannel"] = field(
        default="auto",
        metadata={
            "help": "word vectors that stay as they are, are trained, or one of each side by side; auto: "
            "multichannel, non-static if they are random"
        },
    )
    embedding_dim: int | None = field(
        default=None, metadata={"help": "width of random word vectors; default: 300"}
    )
    extra_words: int = field(
        default=0, metadata={"help": "know so many words besides the training set's: the vector file's first"}
    )
    min_count: int = field(
        default=1, metadata={"help": "words that come less often in the training set are unknown"}
    )
    cased: bool = field(default=False, metadata={"help": "keep capital letters"})
    hidden_size: int = field(
        default=BiLSTMOptions.hidden_size, metadata={"help": "width of each direction of the LSTM"}
    )
    fc_size: int = field(
        default=BiLSTMOptions.fc_size, metadata={"help": "width between the LSTM and the outputs"}
    )
    dropout: float = field(default=BiLSTMOptions.dropout, metadata={"help": "before the outputs, in [0, 1)"})


@register_model(ARCHITECTURE, dataclass=BiLSTMClassifierConfig)
class BiLSTMClassifierModel(SentenceClassifierModel):
    """Adapter of :class:`cmlm_kd.models.bilstm.model.BiLSTMClassifier`."""

    @classmethod
    def build_model(cls, cfg: BiLSTMClassifierConfig, task: SentenceStudentTask) -> "BiLSTMClassifierModel":
        """Make a student for the words of the training set, or the one that a checkpoint describes."""
        described = task.from_checkpoint(ARCHITECTURE)
        if described is not None:
            return cls(BiLSTMClassifier.from_state(described))
        settings = {
            option.name: getattr(cfg, option.name) for option in fields(BiLSTMOptions) if option.name in cfg
        }
        mode = str(settings.pop("embeddings"))
        options = BiLSTMOptions(**settings, embeddings=None if mode == "auto" else cast(EmbeddingMode, mode))
        classifier = build_bilstm(options, task.training_examples(), task.teacher_names, task.max_length)
        task.state.merge_state_dict({ARCHITECTURE: classifier.state_of_architecture()})
        return cls(classifier)

    def max_positions(self) -> int:
        """Return the longest input; longer ones are cut before."""
        return self.inputs.max_length or NO_LIMIT
