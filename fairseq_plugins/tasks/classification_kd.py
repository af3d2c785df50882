"""``--task classification_kd``: sentences and pairs with a class or a score, with or without teachers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import II, MISSING

from cmlm_kd.api.needs import ModelDescription, Needs
from cmlm_kd.data.classification import CORPORA, ReadingOptions
from cmlm_kd.data.classification.corpora import positive_class
from cmlm_kd.data.classification.examples import Examples
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.glue import usual_metrics
from cmlm_kd.fairseq_files.checkpoint_keys import LABELS, PAIRS, TEACHERS
from cmlm_kd.system.text import comma_separated
from cmlm_kd.teachers.cache import check_cacheable
from fairseq_plugins.data.distillation_corpus import (
    CorpusSettings,
    DistillationCorpus,
    DistillationCorpusConfig,
)
from fairseq_plugins.tasks.sentence_task import SentenceTask
from fairseq_plugins.tasks.task_metrics import gather_without_gpu, log_each_exit, measured
from fairseq_plugins.training.precision import LoggingOutput
from fairseq_plugins.training.starting_point import StartingPointConfig, check_same_classes, state_of_start

logger = logging.getLogger(__name__)


@dataclass
class ClassificationKDConfig(DistillationCorpusConfig, StartingPointConfig):
    """Flags of ``--task classification_kd``."""

    data: str = field(default=MISSING, metadata={"help": "folder of the corpus, or what save_to_disk wrote"})
    corpus: str = field(
        default="text",
        metadata={
            "help": f"{', '.join(CORPORA)}: as published; text: lines of text<TAB>label or "
            "text<TAB>text<TAB>label; huggingface: a dataset saved on disk"
        },
    )
    train_file: str = field(
        default="", metadata={"help": "train on this file of the folder, such as an augmented training set"}
    )
    valid_file: str = field(default="", metadata={"help": "validate on this file of the folder"})
    unlabelled: bool = field(
        default=False,
        metadata={
            "help": "the training set has no labels: lines of text or text<TAB>text, or the corpus's columns "
            "without that of the label; for criteria that read none"
        },
    )
    labels: str = field(
        default="",
        metadata={
            "help": "classes in the order of the logits, separated by commas; default: the corpus's own"
        },
    )
    regression: bool = field(
        default=False, metadata={"help": "the last column holds scores (text and huggingface)"}
    )
    text_columns: str = field(
        default="",
        metadata={"help": "columns of the one or two sentences, separated by commas (huggingface)"},
    )
    teacher: str = field(
        default="",
        metadata={"help": "Hugging Face directories of fine-tuned classifiers, separated by colons"},
    )
    teacher_labels: str = field(
        default="",
        metadata={"help": "classes of the teachers' logits, separated by commas, where they have no names"},
    )
    teacher_cache: str = field(
        default="",
        metadata={
            "help": "directory of the teachers' outputs for the training set; "
            "written once, then read and checked"
        },
    )
    cpu: bool = II("common.cpu")


@register_task("classification_kd", dataclass=ClassificationKDConfig)
class ClassificationKDTask(SentenceTask):
    """One classification or regression task; training batches have ``sample["teacher"]`` if one is read.

    Attributes:
        student_description: of the model, once it is built.
        teacher_description: of the teachers, None without.
    """

    student_description: ModelDescription | None = None
    teacher_description: ModelDescription | None = None

    def __init__(self, cfg: ClassificationKDConfig) -> None:
        super().__init__(cfg)
        self.teacher_names = [name for name in cfg.teacher.split(":") if name]
        if cfg.teacher_cache and not self.teacher_names:
            raise UserError("classification_kd: --teacher-cache is of no use without --teacher DIR")
        self._corpus = DistillationCorpus(_settings(cfg, self.teacher_names))
        self._criterion: Any = None

    # -- what models ask for ---------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the logits; empty for scores."""
        kept = self.from_checkpoint(LABELS)
        if kept is not None:  # no training data need be there
            self._corpus.known_labels = tuple(kept)
            self._corpus.known_pairs = self.from_checkpoint(PAIRS)
        return self._corpus.labels

    @property
    def is_pair(self) -> bool:
        """Whether examples are pairs of sentences."""
        return self.training_examples().second is not None

    def training_examples(self) -> Examples:
        """Return what ``train`` holds."""
        return self._corpus.examples("train")

    # -- building --------------------------------------------------------------------------------------

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the student and load its teachers."""
        labels = self.labels
        self._check_start(labels)
        model = super().build_model(cfg, from_checkpoint)
        self.state.merge_state_dict({LABELS: list(labels), PAIRS: self._corpus.known_pairs})
        self._student, self.student_description = model, model.description
        self._corpus.load_teachers(model.inputs, self.max_length)
        if self._corpus.teachers is not None:
            self.teacher_description = self._corpus.teachers.description
            self.state.merge_state_dict({TEACHERS: self._corpus.teachers.hashes})
        return model

    def _check_start(self, labels: Sequence[str]) -> None:
        if self.from_checkpoint(LABELS) is None:
            earlier = state_of_start(self.cfg).get(LABELS, labels)
            check_same_classes(self.cfg, earlier, labels, "classification_kd")

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, which looks at student and teachers."""
        self._criterion = super().build_criterion(cfg, from_checkpoint)
        needs = getattr(self._criterion, "needs", Needs())
        if needs.labels and self._corpus.settings.reading.unlabelled:
            raise UserError(
                f"{cfg._name}: reads the labels of the training set, which --unlabelled says it does not "
                "have; leave out --unlabelled, or take a loss that has none: tinybert_kd, bilstm_kd with "
                "--kd-alpha 0, pkd with --kd-alpha 1, fastbert_kd"
            )
        if hasattr(self._student, "begin_training"):  # trains some of its parts, by stage
            self.state.merge_state_dict(self._student.begin_training(needs))
        if needs.teacher is None and self.teacher_names:
            logger.warning("%s reads no teacher: --teacher is not used", cfg._name)
        if needs.teacher is not None and self.cfg.teacher_cache:
            check_cacheable(cfg._name, needs)
        return self._criterion

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Read and encode a split; of the training set also the teachers' outputs, where they are cached."""
        gather_without_gpu(self.cfg.all_gather_list_size)
        taught = self._reads_teacher()
        self.datasets[split] = self._corpus.dataset(split, self._student.inputs, online=taught)
        if split == "train" and taught:
            needs, narrow = self._criterion.needs, self.cfg.bf16_autocast
            self._corpus.open_cache(needs, bfloat16=narrow, cpu=self.cfg.cpu)
            self._corpus.probe(self.datasets[split], needs, bfloat16=narrow)

    def _reads_teacher(self) -> bool:
        reads = getattr(self._criterion, "needs", Needs()).teacher is not None
        return reads and self._corpus.teachers is not None

    # -- steps -----------------------------------------------------------------------------------------

    def before_step(self, sample: dict[str, Any], criterion: FairseqCriterion) -> None:
        """Ask the teachers; to the criterion a cache and models beside the student look the same."""
        if self._reads_teacher():
            needs, narrow = self._criterion.needs, self.cfg.bf16_autocast
            sample["teacher"] = self._corpus.signal(sample, needs, bfloat16=narrow)

    def reduce_metrics(self, logging_outputs: Sequence[LoggingOutput], criterion: FairseqCriterion) -> None:
        """Log what the criterion logs and, in validation, what GLUE measures."""
        super().reduce_metrics(logging_outputs, criterion)
        predicted = [output for output in logging_outputs if "predictions" in output]
        if not predicted:
            return
        for name in ("predictions", "targets"):
            metrics.log_concat_tensor(f"_{name}", torch.cat([output[name].cpu() for output in predicted]))
        positive = positive_class(self.cfg.corpus, self.labels)
        for name in usual_metrics(len(self.labels)):
            metrics.log_derived(name, lambda meters, name=name: measured(meters, name, positive=positive))
        if "exits" in predicted[0]:
            log_each_exit(predicted)


def _labels_of_start(cfg: ClassificationKDConfig) -> tuple[str, ...]:
    """Return the classes of the model that training starts from, where the data says nothing of classes."""
    return tuple(state_of_start(cfg).get(LABELS, ())) if cfg.unlabelled else ()


def _settings(cfg: ClassificationKDConfig, teachers: Sequence[str]) -> CorpusSettings:
    return CorpusSettings(
        Path(cfg.data),
        ReadingOptions(
            cfg.corpus,
            labels=comma_separated(cfg.labels) or _labels_of_start(cfg),
            regression=cfg.regression,
            text_columns=comma_separated(cfg.text_columns),
            skip_malformed=cfg.skip_malformed_rows,
            unlabelled=cfg.unlabelled,
        ),
        train_file=cfg.train_file,
        valid_file=cfg.valid_file,
        hold_out=cfg.hold_out,
        hold_out_seed=cfg.hold_out_seed,
        teachers=tuple(teachers),
        teacher_labels=comma_separated(cfg.teacher_labels),
        ensemble=cfg.ensemble,
        teacher_cache=cfg.teacher_cache,
    )
