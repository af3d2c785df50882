"""``--task multitask_kd``: several corpora at once, with or without teachers, and one student for all."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import ARCH_MODEL_REGISTRY, BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import II, MISSING

from cmlm_kd.api.criterion import KDCriterion
from cmlm_kd.api.needs import Needs, check_needs
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.data.classification import CORPORA
from cmlm_kd.data.classification.corpora import positive_class
from cmlm_kd.data.classification.ranking import by_query, group_by_query, reciprocal_ranks
from cmlm_kd.data.classification.tasks import TaskFlags, TaskSettings, main_metric, right_class, task_settings
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import HEADS, TEACHERS
from cmlm_kd.models.multitask import TaskHead
from cmlm_kd.teachers.cache import check_cacheable
from fairseq_plugins.data.distillation_corpus import (
    CorpusSettings,
    DistillationCorpus,
    DistillationCorpusConfig,
    plain_ensembling,
)
from fairseq_plugins.data.multitask import MultitaskDataset, RankingDataset
from fairseq_plugins.data.sentences import SentenceDataset
from fairseq_plugins.models.multitask import MultitaskBert
from fairseq_plugins.tasks.sentence_task import SentenceTask
from fairseq_plugins.tasks.task_metrics import (
    RANKS,
    gather_without_gpu,
    log_each_task,
    log_main_metrics,
    under_its_name,
)
from fairseq_plugins.training.precision import LoggingOutput, StepResult
from fairseq_plugins.training.starting_point import StartingPointConfig, check_same_classes, state_of_start

logger = logging.getLogger(__name__)


@dataclass
class MultitaskKDConfig(DistillationCorpusConfig, StartingPointConfig):
    """Flags of ``--task multitask_kd``; those of single tasks are lists such as ``SST-2=value,RTE=value``."""

    data: str = field(default=MISSING, metadata={"help": "folder with a folder for each corpus"})
    corpora: str = field(
        default="",
        metadata={
            "help": f"the tasks, separated by commas: {', '.join(CORPORA)}, as published, or names of your "
            "own with --corpus-format"
        },
    )
    corpus_format: str = field(
        default="",
        metadata={"help": "NAME=text, NAME=huggingface or NAME=CORPUS, where NAME is no published corpus"},
    )
    corpus_folder: str = field(
        default="", metadata={"help": "NAME=FOLDER below the data; default: the folder has the task's name"}
    )
    ranking: str = field(
        default="",
        metadata={
            "help": "NAME or NAME=CLASS: tell the right one of a query's candidates, pairs with the same "
            "first sentence; CLASS is that of right candidates, default: entailment"
        },
    )
    regression: str = field(default="", metadata={"help": "NAMEs with scores (text and huggingface)"})
    labels: str = field(
        default="",
        metadata={"help": "NAME=A:B, classes in the order of the logits; default: the corpus's own"},
    )
    text_columns: str = field(
        default="", metadata={"help": "NAME=A or NAME=A:B, columns of the sentences (huggingface)"}
    )
    train_file: str = field(default="", metadata={"help": "NAME=FILE of the corpus's folder to train on"})
    valid_file: str = field(default="", metadata={"help": "NAME=FILE of the corpus's folder to validate on"})
    teacher: str = field(
        default="",
        metadata={"help": "NAME=DIR or NAME=DIR:DIR, teachers; tasks without one have hard labels alone"},
    )
    teacher_labels: str = field(
        default="", metadata={"help": "NAME=A:B, classes of the teachers' logits where they have no names"}
    )
    teacher_cache: str = field(
        default="",
        metadata={
            "help": "directory, with one for each task in it, of the teachers' outputs for the training "
            "sets; written once, then read and checked"
        },
    )
    cpu: bool = II("common.cpu")


@register_task("multitask_kd", dataclass=MultitaskKDConfig)
class MultitaskKDTask(SentenceTask):
    """Classification, similarity and ranking tasks together (MT-DNN); a batch is of one task."""

    def __init__(self, cfg: MultitaskKDConfig) -> None:
        super().__init__(cfg)
        flags = TaskFlags(**{flag.name: getattr(cfg, flag.name) for flag in fields(TaskFlags)})
        self._settings = task_settings(Path(cfg.data), flags, skip_malformed=cfg.skip_malformed_rows)
        if cfg.teacher_cache and not flags.teacher:
            raise UserError("multitask_kd: --teacher-cache is of no use without --teacher NAME=DIR")
        self._corpora = {own.name: DistillationCorpus(_corpus_settings(cfg, own)) for own in self._settings}
        self._heads: list[TaskHead] | None = None
        self._needs: dict[str, Needs] = {}  # of tasks whose teachers are read

    # -- what models ask for ---------------------------------------------------------------------------

    @property
    def heads(self) -> list[TaskHead]:
        """The tasks, each a :class:`TaskHead`, from a checkpoint or from what the training sets hold."""
        if self._heads is None:
            kept = self.from_checkpoint(HEADS)
            if kept is not None:
                self._heads = [TaskHead.from_document(head) for head in kept]
                self._take_labels(self._heads)
            else:
                self._heads = [self._head(own) for own in self._settings]
                self._check_start(self._heads)
        return self._heads

    def _check_start(self, heads: list[TaskHead]) -> None:
        earlier = {head["name"]: head["labels"] for head in state_of_start(self.cfg).get(HEADS, ())}
        for head in heads:  # that the checkpoint lacks one of them, fairseq says when it loads the weights
            labels = earlier.get(head.name, head.labels)
            check_same_classes(self.cfg, labels, head.labels, f"multitask_kd: task {head.name}")

    def _take_labels(self, heads: list[TaskHead]) -> None:
        """Know the classes of a checkpoint's tasks, so that no training data need be there."""
        found = [head.name for head in heads]
        if sorted(found) != sorted(self._corpora):
            raise UserError(
                f"multitask_kd: the checkpoint has the tasks {', '.join(found)}, --corpora names "
                f"{', '.join(self._corpora)}; give the same"
            )
        for head in heads:
            self._corpora[head.name].known_pairs = head.is_pair
            if not head.is_ranking:
                self._corpora[head.name].known_labels = head.labels

    def _head(self, own: TaskSettings) -> TaskHead:
        examples = self._corpora[own.name].examples("train")
        is_pair = examples.second is not None
        if own.ranks is None:
            return TaskHead(own.name, examples.labels, is_pair)
        if not is_pair:
            raise UserError(f"--ranking {own.name}: ranking is for pairs, {examples.source} has none")
        right_class(own.name, own.ranks, examples.labels)
        return TaskHead(own.name, (), is_pair, is_ranking=True)

    # -- building --------------------------------------------------------------------------------------

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the student and load the teachers of each task."""
        if not issubclass(ARCH_MODEL_REGISTRY.get(cfg._name, object), MultitaskBert):
            raise UserError(
                f"multitask_kd: --arch {cfg._name} has one head; pass --arch multitask_bert, or "
                "--task classification_kd"
            )
        model = super().build_model(cfg, from_checkpoint)
        documents = [{**vars(head), "labels": list(head.labels)} for head in self.heads]
        self.state.merge_state_dict({HEADS: documents})
        self._student = model
        for corpus in self._corpora.values():
            corpus.load_teachers(model.inputs, self.max_length)
        taught = {name: corpus.teachers.hashes for name, corpus in self._corpora.items() if corpus.teachers}
        if taught:
            self.state.merge_state_dict({TEACHERS: taught})
        return model

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, and see for each task whether it, student and teachers go together."""
        criterion = super().build_criterion(cfg, from_checkpoint)
        teachers = {name: corpus.teachers for name, corpus in self._corpora.items()}
        taught = {name: found.description for name, found in teachers.items() if found is not None}
        needs = {
            name: criterion.criterion.needs(self._student.describe(name), description)
            for name, description in taught.items()
        }
        self._needs = {name: found for name, found in needs.items() if found.teacher is not None}
        for name, found in self._needs.items():
            check_needs(cfg._name, found, self._student.describe(name), taught[name])
            if self.cfg.teacher_cache:
                check_cacheable(cfg._name, found)
        self._check_untaught(
            criterion.criterion, cfg._name, [name for name in self._corpora if name not in taught]
        )
        if len(self._needs) < len(taught):
            logger.warning("%s reads no teacher: --teacher is not used", cfg._name)
        return criterion

    def _check_untaught(self, criterion: KDCriterion, name: str, untaught: list[str]) -> None:
        """Log which tasks have hard labels alone; refuse a criterion that cannot do without teachers."""
        needs = {task: criterion.needs(self._student.describe(task), None) for task in untaught}
        needy = [task for task, found in needs.items() if found.teacher is not None]
        if len(needy) == len(self._corpora):
            raise UserError(
                f"{name}: no task has a teacher; name some with --teacher NAME=DIR, or train without them "
                "with --criterion sentence_classification"
            )
        if needy and not criterion.learns_untaught:
            raise UserError(
                f"{name}: {', '.join(needy)} has no teacher, without which {name} has nothing to learn from "
                f"there; name one with --teacher {needy[0]}=DIR, or take --criterion mtdnn_kd, which trains "
                "such tasks on their labels"
            )
        if len(untaught) < len(self._corpora):
            logger.info("hard labels alone, without a teacher: %s", ", ".join(untaught) or "no task")

    # -- data ------------------------------------------------------------------------------------------

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Read and encode a split of every task, and what teachers say about it where that is cached."""
        gather_without_gpu(self.cfg.all_gather_list_size)
        training, parts = split == "train", {}
        for own in self._settings:
            corpus = self._corpora[own.name]
            part = corpus.dataset(split, self._student.inputs, online=own.name in self._needs)
            parts[own.name] = part if own.ranks is None else self._queries(own.name, own.ranks, part)
            if training and own.name in self._needs:
                narrow = self.cfg.bf16_autocast
                corpus.open_cache(self._needs[own.name], bfloat16=narrow, cpu=self.cfg.cpu)
                corpus.probe(part, self._needs[own.name], bfloat16=narrow)
        if training and self._needs:
            untaught = sum(len(part) for name, part in parts.items() if name not in self._needs)
            total = sum(map(len, parts.values()))
            logger.info("%d of %d training examples have hard labels alone", untaught, total)
        self.datasets[split] = MultitaskDataset(parts, shuffle=training)

    def _queries(self, name: str, right: str, sentences: SentenceDataset) -> RankingDataset:
        examples = sentences.examples
        queries = group_by_query(examples, right_class(name, right, examples.labels))
        logger.info(
            "%s: %d queries; %d examples are left out, whose query has no other candidate, or not one "
            "right one",
            *(examples.source, len(queries), queries.left_out),
        )
        return RankingDataset(sentences, queries)

    # -- steps -----------------------------------------------------------------------------------------

    def before_step(self, sample: dict[str, Any], criterion: FairseqCriterion) -> None:
        """Ask the task's teachers, if it has some."""
        name = sample["net_input"]["task"]
        if name in self._needs:
            sample["teacher"] = self._ask_teachers(name, sample)

    def train_step(self, sample: dict[str, Any], *more: Any, **named: Any) -> StepResult:
        """Train on a batch of one task, and log under its name."""
        loss, size, logged = super().train_step(sample, *more, **named)
        return loss, size, under_its_name(sample["net_input"]["task"], logged, list(self._corpora))

    def _ask_teachers(self, name: str, sample: dict[str, Any]) -> TeacherSignal:
        signal = self._corpora[name].signal(sample, self._needs[name], bfloat16=self.cfg.bf16_autocast)
        candidates = sample["net_input"].get("candidates")
        if candidates is None:
            return signal
        outputs = [
            replace(output, logits=by_query(output.sentence_logits(), candidates))  # (G, K)
            for output in signal.outputs
        ]
        return replace(signal, outputs=tuple(outputs), ensembling=plain_ensembling(self.cfg.ensemble))

    def valid_step(
        self, sample: dict[str, Any], model: BaseFairseqModel, criterion: FairseqCriterion
    ) -> StepResult:
        """Evaluate a batch of one task."""
        loss, size, logged = super().valid_step(sample, model, criterion)
        if "candidates" in sample["net_input"]:
            scores, right = logged.pop("predictions"), logged.pop("targets")
            logged[RANKS] = reciprocal_ranks(scores, right)  # (G,)
        return loss, size, under_its_name(sample["net_input"]["task"], logged)

    def reduce_metrics(self, logging_outputs: Sequence[LoggingOutput], criterion: FairseqCriterion) -> None:
        """Log the loss of all tasks, and of each its terms and, in validation, what it is measured by."""
        super().reduce_metrics(logging_outputs, criterion)
        heads = {head.name: head for head in self.heads}
        forms = {own.name: own.reading.corpus for own in self._settings}
        positive = {name: positive_class(forms[name], head.labels) for name, head in heads.items()}
        sizes = log_each_task(logging_outputs, criterion, heads, positive)
        if criterion.training and self._needs:
            untaught = sum(size for name, size in sizes.items() if name not in self._needs)
            metrics.log_scalar_sum("hard_labels_alone", untaught)
        if not criterion.training:
            log_main_metrics({own.name: self._main_metric(own) for own in self._settings})

    def _main_metric(self, own: TaskSettings) -> str:
        labels = next(head.labels for head in self.heads if head.name == own.name)
        return main_metric(own.reading.corpus, labels, own.ranks is not None)


def _corpus_settings(cfg: MultitaskKDConfig, own: TaskSettings) -> CorpusSettings:
    cache = str(Path(cfg.teacher_cache) / own.name) if cfg.teacher_cache and own.teachers else ""
    return CorpusSettings(
        own.folder,
        own.reading,
        train_file=own.train_file,
        valid_file=own.valid_file,
        hold_out=cfg.hold_out,
        hold_out_seed=cfg.hold_out_seed,
        teachers=own.teachers,
        teacher_labels=own.teacher_labels,
        ensemble=cfg.ensemble,
        teacher_cache=cache,
        ranks=own.ranks is not None,
    )
