"""``--task classification_kd``: sentences and pairs with a class or a score, with or without teachers."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from cmlm_kd.classification import CORPORA, ReadingOptions, hold_out, read_examples
from cmlm_kd.classification.examples import check_every_class_occurs
from cmlm_kd.classification.inputs import EncodedExamples
from cmlm_kd.errors import UserError
from cmlm_kd.glue_metrics import measure, usual_metrics
from cmlm_kd.needs import Needs
from cmlm_kd.signals import Ensembling
from cmlm_kd.teachers.cache import MANIFEST_NAME, CacheIdentity, check_cacheable, open_cache, write_cache
from cmlm_kd.teachers.ensemble import TeacherEnsemble
from fairseq_plugins.bridge import choices
from fairseq_plugins.data.sentences import SentenceDataset
from fairseq_plugins.tasks.autocast import AutocastMixin, PrecisionConfig, bfloat16_autocast

logger = logging.getLogger(__name__)

LABELS = "labels"
"""Key of a checkpoint's task state: the classes in the order of the logits."""


@dataclass
class ClassificationKDConfig(PrecisionConfig):
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
    hold_out: float = field(
        default=0.0,
        metadata={"help": "validate on this share of the training set, in [0, 1), instead of the dev set"},
    )
    hold_out_seed: int = field(default=1, metadata={"help": "which examples --hold-out takes, 0 or more"})
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
    skip_malformed_rows: bool = field(
        default=False,
        metadata={"help": "leave out lines with a wrong number of columns instead of refusing the file"},
    )
    max_length: int = field(
        default=0, metadata={"help": "cut inputs to so many pieces, 3 or more; 0: what the model takes"}
    )
    teacher: str = field(
        default="",
        metadata={"help": "Hugging Face directories of fine-tuned classifiers, separated by colons"},
    )
    teacher_labels: str = field(
        default="",
        metadata={"help": "classes of the teachers' logits, separated by commas, where they have no names"},
    )
    ensemble: choices(Ensembling) = field(
        default="probabilities", metadata={"help": "what of several teachers is averaged"}
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
class ClassificationKDTask(AutocastMixin, FairseqTask):
    """One classification or regression task; training batches have ``sample["teacher"]`` if one is read.

    Attributes:
        kd_level: what its criteria sum over.
        student_description: of the model, once it is built.
        teacher_description: of the teachers, None without.
    """

    kd_level = "sentences"
    student_description = None
    teacher_description = None

    def __init__(self, cfg):
        super().__init__(cfg)
        self.max_length = cfg.max_length
        self.teacher_names = [name for name in cfg.teacher.split(":") if name]
        self._labels = None
        self._student = None
        self._teachers = None
        self._criterion = None
        self._cache = None
        self._read = {}
        if cfg.teacher_cache and not self.teacher_names:
            raise UserError("classification_kd: --teacher-cache is of no use without --teacher DIR")

    # -- what models ask for ---------------------------------------------------------------------------

    @property
    def labels(self):
        """Classes in the order of the logits; empty for scores."""
        if self._labels is None:
            kept = self.from_checkpoint(LABELS)
            self._labels = tuple(kept) if kept is not None else self.training_examples().labels
        return self._labels

    @property
    def is_pair(self):
        """Whether examples are pairs of sentences."""
        return self.training_examples().second is not None

    def training_examples(self):
        """Return what ``train`` holds."""
        return self._examples("train")

    def from_checkpoint(self, key):
        """Return what a checkpoint's task state says, None outside of loading one."""
        return self.state.state_dict.get(key)

    def load_state_dict(self, state_dict):
        """Take the classes of a checkpoint, which must be those of the data."""
        found = state_dict.get(LABELS)
        if found is not None and self._labels is not None and tuple(found) != self._labels:
            raise UserError(
                f"classification_kd: the checkpoint has the classes {tuple(found)}, {self.cfg.data} has "
                f"{self._labels}; "
                "give another --save-dir, or the data it was trained on"
            )
        super().load_state_dict(state_dict)

    # -- building --------------------------------------------------------------------------------------

    def build_model(self, cfg, from_checkpoint=False):
        """Build the student and load its teachers."""
        labels = self.labels
        model = super().build_model(cfg, from_checkpoint)
        self.state.merge_state_dict({LABELS: list(labels)})
        self._student, self.student_description = model, model.description
        if self.teacher_names and self._teachers is None:
            self._teachers = TeacherEnsemble.load(
                self.teacher_names,
                labels,
                ensembling=str(self.cfg.ensemble),
                max_length=self.max_length or model.inputs.max_length,
                values=CORPORA[self.cfg.corpus].classes if self.cfg.corpus in CORPORA else None,
                teacher_labels=_listed(self.cfg.teacher_labels),
            )
            self._teachers.check_lengths(model.inputs.hash, model.inputs.max_length)
            self.teacher_description = self._teachers.description
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the criterion, which looks at student and teachers."""
        self._criterion = super().build_criterion(cfg, from_checkpoint)
        needs = getattr(self._criterion, "needs", Needs())
        if needs.teacher is None and self.teacher_names:
            logger.warning("%s reads no teacher: --teacher is not used", cfg._name)
        if needs.teacher is not None and self.cfg.teacher_cache:
            check_cacheable(cfg._name, needs)
        return self._criterion

    # -- data ------------------------------------------------------------------------------------------

    def _options(self, labels=()):
        return ReadingOptions(
            self.cfg.corpus,
            labels=_listed(self.cfg.labels) or tuple(labels),
            regression=self.cfg.regression,
            text_columns=_listed(self.cfg.text_columns),
            skip_malformed=self.cfg.skip_malformed_rows,
        )

    def _examples(self, split):
        """Read a split once; with --hold-out, ``train`` and ``valid`` are parts of the training set."""
        if split in self._read:
            return self._read[split]
        data, held = Path(self.cfg.data), self.cfg.hold_out
        if split == "train" or (split == "valid" and held):
            examples = read_examples(data, "train", self._options(), self.cfg.train_file)
            check_every_class_occurs(examples)
            if held:
                parts = hold_out(examples, held, self.cfg.hold_out_seed)
                self._read.update(zip(("train", "valid"), parts, strict=True))
            else:
                self._read["train"] = examples
        else:
            file = self.cfg.valid_file if split == "valid" else ""
            self._read[split] = read_examples(data, split, self._options(self.labels), file)
        return self._read[split]

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Read and encode a split; of the training set also the teachers' outputs, where they are cached."""
        examples = self._examples(split)
        training = split == "train"
        others = {}
        if training and self._reads_teacher() and not self.cfg.teacher_cache:
            others = {
                position: EncodedExamples(examples, model.inputs)
                for position, model in self._teachers.with_other_tokenizers(self._student.inputs.hash).items()
            }
        encoded = EncodedExamples(examples, self._student.inputs)
        self.datasets[split] = SentenceDataset(examples, encoded, others, shuffle=training)
        limit = self._student.inputs.max_length or encoded.sizes.max() + 1  # 0: none
        logger.info(
            "%s: %d examples, up to %d pieces, %d cut at --max-length or near it",
            *(split, len(examples), encoded.sizes.max(), (encoded.sizes >= limit).sum()),
        )
        if training and self._reads_teacher() and self.cfg.teacher_cache:
            self._cache = self._cached_outputs(examples)

    def _reads_teacher(self):
        return self._teachers is not None and getattr(self._criterion, "needs", Needs()).teacher is not None

    def _cached_outputs(self, examples):
        """Open the cache; the first worker writes it if it is not there."""
        path, needs = Path(self.cfg.teacher_cache), self._criterion.needs
        precision = "bfloat16" if self.cfg.bf16_autocast else "float32"
        identity = CacheIdentity.of(self._teachers, examples, needs, precision)
        several = distributed_utils.get_data_parallel_world_size() > 1
        first = not several or distributed_utils.get_data_parallel_rank() == 0
        if first and not (path / MANIFEST_NAME).exists():
            device = "cuda" if torch.cuda.is_available() and not self.cfg.cpu else "cpu"
            logger.info("asking the teachers about %d examples, for %s", len(examples), path)
            write_cache(path, self._teachers, examples, needs, identity, device)
        if several:
            torch.distributed.barrier()
        return open_cache(path, identity, self._teachers.ensembling)

    # -- steps -----------------------------------------------------------------------------------------

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """Ask the teachers, then train; both ways of asking look the same to the criterion."""
        if self._reads_teacher():
            sample["teacher"] = self._ask_teachers(sample).to_batch()
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def _ask_teachers(self, sample):
        rows, device = sample["id"].tolist(), sample["id"].device
        if self._cache is not None:
            return self._cache.signal(rows, device)
        own = sample.get("teacher_input", {})
        batches = [own.get(i, sample["net_input"]) for i in range(len(self._teachers.members))]
        with bfloat16_autocast(self.cfg.bf16_autocast, device.type):
            return self._teachers.signal(batches, self._criterion.needs, check=rows)

    def reduce_metrics(self, logging_outputs, criterion):
        """Log what the criterion logs and, in validation, what GLUE measures."""
        super().reduce_metrics(logging_outputs, criterion)
        predicted = [output for output in logging_outputs if "predictions" in output]
        if not predicted:
            return
        for name in ("predictions", "targets"):
            metrics.log_concat_tensor(f"_{name}", torch.cat([output[name].cpu() for output in predicted]))
        for name in usual_metrics(len(self.labels)):
            metrics.log_derived(name, lambda meters, name=name: _measured(meters, name))

    @staticmethod
    def logging_outputs_can_be_summed(criterion):
        """Sums are enough in training; what GLUE measures needs every worker's predictions."""
        return criterion.training

    def max_positions(self):
        """Return the student's longest input; longer ones were cut."""
        return self._student.max_positions() if self._student is not None else None

    @property
    def source_dictionary(self):
        """There is none: students bring what turns sentences into ids."""
        return None

    @property
    def target_dictionary(self):
        """There is none: targets are classes or scores."""
        return None


def _measured(meters, name):
    logits, target = (meters[f"_{part}"].tensor.float().numpy() for part in ("predictions", "targets"))
    if logits.shape[1] > 1:
        target = target.astype("int64")
    return round(measure(logits, target, [name])[name], 4)


def _listed(text):
    """Return the names in a comma-separated flag."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
