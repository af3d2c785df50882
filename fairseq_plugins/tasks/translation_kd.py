"""``--task translation_kd``: fairseq's translation, a teacher's soft targets beside every target token."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import II

from cmlm_kd.api.needs import NOTHING_ELSE, ModelDescription, Needs, Request
from cmlm_kd.api.next_tokens import TeacherOptions, TranslationData
from cmlm_kd.api.sources import NamedSource, SignalSource, TeacherBatch, TrainingSet, named_source
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.bleu_notes import note_on_eval_bleu
from cmlm_kd.fairseq_files.checkpoint_keys import TEACHERS
from cmlm_kd.store import StoredSoftTargets
from cmlm_kd.system.files import finish_interrupted
from cmlm_kd.teachers import load_sources
from cmlm_kd.teachers.online import OnlineTeacher
from cmlm_kd.teachers.state_cache import StateCache
from fairseq_plugins.data.cached_states import cached_states, check_cacheable
from fairseq_plugins.data.fold_dataset import FoldDataset
from fairseq_plugins.data.prepared import VERIFY_HELP, check_fairseq_data
from fairseq_plugins.data.soft_target_dataset import SoftTargetDataset
from fairseq_plugins.data.training_stores import NO_STORE, TrainingStores
from fairseq_plugins.models.inner_states import check_padding, describe_translator
from fairseq_plugins.tasks.eval_bleu import check_eval_bleu
from fairseq_plugins.tasks.finite_loss import FiniteLossMixin
from fairseq_plugins.training.entries import entries_of
from fairseq_plugins.training.folds import FoldConfig, FoldMixin
from fairseq_plugins.training.precision import AutocastMixin, PrecisionConfig
from fairseq_plugins.translators.inherited import InheritedConfig, start_from_layers
from fairseq_plugins.translators.teacher_forcing import FairseqTeacher

logger = logging.getLogger(__name__)

_ASKING = ("source_language", "target_language", "prompt", "examples")
"""Settings of an online teacher, as of :class:`TeacherOptions`; earlier checkpoints have none of them."""
_READ_FOR_BLEU = 200
"""References of which the script is looked at."""


@dataclass
class TranslationKDConfig(PrecisionConfig, FoldConfig, InheritedConfig, TranslationConfig):
    """Flags of ``--task translation_kd``: those of ``translation`` and these."""

    soft_targets: str | None = field(
        default=None,
        metadata={
            "help": "store written by 'cmlm-kd dump' for the training set; one for each of colon-separated "
            "data directories (STORE1:STORE2); for a directory with train, train1, ... one each, separated "
            f"by commas, '{NO_STORE}' for a set without soft targets; '{NO_STORE}' alone trains without a "
            "teacher, otherwise under equal terms"
        },
    )
    online_teacher: str | None = field(
        default=None,
        metadata={
            "help": "any teacher of 'cmlm-kd dump', asked for the soft targets in the step, without a store; "
            "several, separated by commas, count by the mean of their probabilities (0.7*A,0.3*B for "
            "weights); stands for --soft-targets online=MODEL"
        },
    )
    source_language: str | None = field(
        default=None,
        metadata={"help": "code or name by which an online teacher of many languages knows the source"},
    )
    target_language: str | None = field(
        default=None,
        metadata={"help": "code or name by which an online teacher of many languages knows the target"},
    )
    prompt: str | None = field(
        default=None,
        metadata={
            "help": "template of the prompt of an online language model, with {source} in it; as in "
            "'cmlm-kd dump'"
        },
    )
    examples: str | None = field(
        default=None,
        metadata={"help": "pairs that an online language model is shown first, PREFIX:SRC-TGT"},
    )
    teacher_cache: str = field(
        default="",
        metadata={
            "help": "directory of what hidden_state_kd reads of the online teacher for the training set; "
            "written once, then read and checked"
        },
    )
    cpu: bool = II("common.cpu")
    # fairseq's own default, -1, fails with several training sets.
    upsample_primary: int = field(
        default=1, metadata={"help": "how often 'train' is repeated beside train1, ..."}
    )
    verify_data: bool = field(default=False, metadata={"help": VERIFY_HELP})
    save_dir: str = II("checkpoint.save_dir")


@register_task("translation_kd", dataclass=TranslationKDConfig)
class TranslationKDTask(FoldMixin, AutocastMixin, FiniteLossMixin, TranslationTask):
    """Translation whose training batches have ``sample["teacher"]``; validation and test are fairseq's own.

    The stores are opened by ``load_dataset`` of the training set and by nothing else, so that a checkpoint
    of this task can be evaluated and converted where they are absent.
    """

    def __init__(self, cfg: TranslationKDConfig, src_dict: Dictionary, tgt_dict: Dictionary) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        self._soft_targets = _chosen_soft_targets(cfg)
        if self._cache_directory and self._soft_targets in (None, NO_STORE):
            raise UserError("translation_kd: --teacher-cache is of no use without --online-teacher MODEL")
        self._criterion: Any = None
        self._stores: TrainingStores | None = None
        self._named: NamedSource | None = None
        self._online: SignalSource | None = None
        self._request, self._reads_tail = NOTHING_ELSE, True
        self._model: BaseFairseqModel | None = None
        self._begins = False  # a model that is built for training, not for a checkpoint's weights
        self.state.merge_state_dict(entries_of(self))

    @classmethod
    def setup_task(cls, cfg: TranslationKDConfig, **kwargs: Any) -> "TranslationKDTask":
        """Read the dictionaries, of whole data-bins."""
        for path in utils.split_paths(cfg.data):
            finish_interrupted(Path(path))
        task: TranslationKDTask = super().setup_task(cfg, **kwargs)
        return task

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the model and note in its checkpoints which part of the training set it was kept from."""
        check_eval_bleu(self.cfg)
        model = super().build_model(cfg, from_checkpoint)
        self.note_fold()
        self._model, self._begins = model, not from_checkpoint
        return model

    @property
    def without_teacher(self) -> str | None:
        """The flag by which no batch has a teacher; None where batches have one."""
        return f"--soft-targets {NO_STORE}" if self._soft_targets == NO_STORE else None

    @property
    def _cache_directory(self) -> str:
        """``--teacher-cache``; checkpoints of earlier releases have no such setting."""
        return getattr(self.cfg, "teacher_cache", "")

    @property
    def _data(self) -> TranslationData:
        """The training data, as teachers get to know them."""
        directory, languages = (
            utils.split_paths(self.cfg.data)[0],
            (self.cfg.source_lang, self.cfg.target_lang),
        )
        return TranslationData(Path(directory), *languages, len(self.target_dictionary))

    @property
    def student_description(self) -> ModelDescription | None:
        """What the student can give; None before it is built."""
        if self._model is None:
            return None
        return describe_translator(self._model, "student", self.source_dictionary, self.target_dictionary)

    @property
    def teacher_description(self) -> ModelDescription | None:
        """What can be read of a teacher that runs beside the student, which is loaded; else None."""
        if self._soft_targets is None or self._soft_targets == NO_STORE:
            return None
        source = self._named_source()
        if not isinstance(source, OnlineTeacher):
            return None
        if isinstance(source.teacher, FairseqTeacher) and self._model is not None:
            lengths = utils.resolve_max_positions(self.max_positions(), self._model.max_positions())
            source.teacher.check_lengths(lengths)
        return source.teacher.inside or source.description

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion and remember what it wants of the soft targets."""
        if self._model is not None and self._begins:  # not where a checkpoint is converted or evaluated
            start_from_layers(self._model, self.cfg, self._data, self.cfg.save_dir)
        temperature = getattr(cfg, "kd_temperature", None)
        self._request = Request(
            topk=getattr(cfg, "kd_topk", None),  # no need to carry more in a batch
            tail_temperatures=() if temperature is None else (float(temperature),),
        )
        self._reads_tail = str(getattr(cfg, "kd_tail", "bucket")) == "bucket"
        self._criterion = super().build_criterion(cfg, from_checkpoint)
        wanted = getattr(self._criterion, "needs", Needs()).teacher
        if wanted is not None:
            check_padding(wanted, self.cfg.left_pad_target)
            self._request = replace(
                wanted, topk=self._request.topk, tail_temperatures=self._request.tail_temperatures
            )
        return self._criterion

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Load a split; the training set with its soft targets.

        Raises:
            UserError: a file of the data is damaged; a store is missing, damaged, belongs to other data or
                doesn't suit the criterion. Those of all epochs are looked at before the first.
        """
        training, paths = split == self.cfg.train_subset, utils.split_paths(self.cfg.data)
        path = paths[(epoch - 1) % len(paths)] if training else paths[0]
        check_fairseq_data(paths, path, split, whole=self.cfg.verify_data)
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if not training:
            self._note_on_bleu(split)
            return
        fold = None if self._criterion is None else self.training_fold()
        targets = self.datasets[split].tgt
        self._add_soft_targets(split, epoch, combine)
        if fold is not None:
            padding = self.target_dictionary.pad()
            self.datasets[split] = FoldDataset(self.datasets[split], targets, padding, fold)

    def _note_on_bleu(self, split: str) -> None:
        """Warn of a BLEU that measures nothing, from some of the references."""
        if not self.cfg.eval_bleu:
            return
        targets = self.datasets[split].tgt
        rows = (targets[row] for row in range(min(len(targets), _READ_FOR_BLEU)))
        note = note_on_eval_bleu(
            self.target_dictionary.string(row, self.cfg.eval_bleu_remove_bpe) for row in rows
        )
        if note is not None:
            logger.warning("%s: %s", split, note)

    def _add_soft_targets(self, split: str, epoch: int, combine: bool) -> None:
        """Put the teacher beside the training set, or let it wait for the batches."""
        if self._soft_targets is None:
            if self._criterion is not None:  # training: fairseq-generate builds no criterion
                raise UserError(
                    "translation_kd: --soft-targets is missing; give the store that 'cmlm-kd dump' wrote for "
                    f"this data-bin, a model with --online-teacher, or train without a teacher with "
                    f"--soft-targets {NO_STORE}"
                )
            return
        given = [name for name in _ASKING if getattr(self.cfg, name, None) is not None]
        if given and (self._soft_targets == NO_STORE or self._named_source() is None):
            raise UserError(
                f"translation_kd: --{given[0].replace('_', '-')} is for --online-teacher, and with "
                f"--soft-targets {self._soft_targets} no teacher is asked; leave it out"
            )
        if self._soft_targets == NO_STORE:
            return
        pairs, source = self.datasets[split], self._source(epoch, combine)
        if source.rows not in (None, len(pairs)):
            raise UserError(
                f"translation_kd: {len(pairs)} training pairs but soft targets for {source.rows}; is a "
                "data-bin there in two formats (--dataset-impl)?"
            )
        logger.info("soft targets for %s pairs%s", f"{len(pairs):,}", _details(source))
        if isinstance(source, OnlineTeacher):
            self.state.merge_state_dict({TEACHERS: [source.teacher.hash]})
        if self._cache_directory:
            source = self._cached(source, pairs)
        if source.by_row:
            self.datasets[split] = SoftTargetDataset(pairs, source, self._request)
        else:
            self._online = source

    def _cached(self, source: SignalSource, pairs: Any) -> StateCache:
        """Return what an online teacher has given, which is then let go."""
        teacher = check_cacheable(source, self._request, utils.split_paths(self.cfg.data))
        cached = cached_states(
            Path(self._cache_directory),
            teacher,
            pairs,
            self._request,
            reads_tail=self._reads_tail,
            bfloat16=self.cfg.bf16_autocast,
        )
        self._named = None
        return cached

    def _source(self, epoch: int, combine: bool) -> SignalSource:
        """Return the soft targets of an epoch's training set, each checked against the criterion."""
        sources = self._sources(combine)
        if hasattr(self._criterion, "check_teacher"):
            for source in sources:
                given = source.description
                self._criterion.check_teacher(given.topk, given.tail_temperatures)
        return sources[(epoch - 1) % len(sources)]

    def _sources(self, combine: bool) -> Sequence[SignalSource]:
        """Return what ``--soft-targets`` names: a registered source, or a store for each directory."""
        wanted, directories = str(self._soft_targets), utils.split_paths(self.cfg.data)
        named = self._named_source()
        if named is not None:
            return [named]
        if self._stores is None:
            self._stores = TrainingStores(
                directories,
                utils.split_paths(wanted),
                self.cfg.source_lang,
                self.cfg.target_lang,
                self.cfg.train_subset,
                self.cfg.upsample_primary,
            )
        return self._stores.open(combine)

    def _named_source(self) -> NamedSource | None:
        """Return the registered source that ``--soft-targets`` names, made when it is first asked for."""
        if self._named is None:
            asking: dict[str, Any] = {name: getattr(self.cfg, name, None) for name in _ASKING}
            training_set = TrainingSet(
                Path(utils.split_paths(self.cfg.data)[0]),
                self.cfg.train_subset,
                len(self.target_dictionary),
                self.target_dictionary.pad(),
                self.cfg.source_lang,
                self.cfg.target_lang,
                "cuda" if torch.cuda.is_available() and self.cfg.cpu is not True else "cpu",
                bf16_autocast=self.cfg.bf16_autocast,
                request=self._request,
                loading=TeacherOptions(**asking),
            )
            load_sources()
            self._named = named_source(str(self._soft_targets), training_set)
        return self._named

    def before_step(self, sample: dict[str, Any], criterion: FairseqCriterion) -> None:
        """Ask a teacher that runs beside the student."""
        if self._online is not None:
            batch = TeacherBatch(
                sample["id"], sample["net_input"], sample["target"], self.target_dictionary.pad()
            )
            sample["teacher"] = self._online.signal(batch, self._request)


def _chosen_soft_targets(cfg: TranslationKDConfig) -> str | None:
    """Return what ``--soft-targets`` says, or ``--online-teacher``, which is another way to say it."""
    online = getattr(cfg, "online_teacher", None)  # checkpoints of earlier releases have no such setting
    if online is None:
        return cfg.soft_targets
    if cfg.soft_targets is not None:
        raise UserError(
            f"translation_kd: --soft-targets {cfg.soft_targets} and --online-teacher {online} both give the "
            "soft targets; leave one of them out"
        )
    return f"online={online}"


def _details(source: SignalSource) -> str:
    """Return what else the log says of a source."""
    if not isinstance(source, StoredSoftTargets):
        return f"; {source.description.name}"
    return (
        f", {source.rows_without_teacher:,} of them without a teacher row (trained on hard labels); "
        f"{source.name}, k {source.k}"
    )
