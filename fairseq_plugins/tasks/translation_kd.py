"""``--task translation_kd``: fairseq's translation, a teacher's soft targets beside every target token."""

import logging
from dataclasses import dataclass, field

from fairseq import utils
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from cmlm_kd.errors import UserError
from fairseq_plugins.data.soft_target_dataset import SoftTargetDataset
from fairseq_plugins.data.training_stores import NO_STORE, TrainingStores
from fairseq_plugins.training.precision import AutocastMixin, PrecisionConfig

logger = logging.getLogger(__name__)


@dataclass
class TranslationKDConfig(PrecisionConfig, TranslationConfig):
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
    # fairseq's own default, -1, fails with several training sets.
    upsample_primary: int = field(
        default=1, metadata={"help": "how often 'train' is repeated beside train1, ..."}
    )


@register_task("translation_kd", dataclass=TranslationKDConfig)
class TranslationKDTask(AutocastMixin, TranslationTask):
    """Translation whose training batches have ``sample["teacher"]``; validation and test are fairseq's own.

    The stores are opened by ``load_dataset`` of the training set and by nothing else, so that a checkpoint
    of this task can be evaluated and converted where they are absent.
    """

    def __init__(self, cfg, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        self._criterion = None
        self._stores = None
        self._k = None

    def build_criterion(self, cfg, from_checkpoint=False):
        """Build the criterion and remember what it wants of a store."""
        self._criterion = super().build_criterion(cfg, from_checkpoint)
        self._k = getattr(cfg, "kd_topk", None)  # no need to carry more in a batch
        return self._criterion

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Load a split; the training set with its soft targets.

        Raises:
            UserError: a store is missing, damaged, belongs to other data or doesn't suit the criterion.
                Those of all epochs are looked at before the first.
        """
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        if split != self.cfg.train_subset:
            return
        if self.cfg.soft_targets is None:
            if self._criterion is not None:  # training: fairseq-generate builds no criterion
                raise UserError(
                    "translation_kd: --soft-targets is missing; give the store that 'cmlm-kd dump' wrote for "
                    f"this data-bin, or train without a teacher with --soft-targets {NO_STORE}"
                )
            return
        if self.cfg.soft_targets == NO_STORE:
            return
        pairs, soft_targets = self.datasets[split], self._soft_targets(epoch, combine)
        if len(soft_targets) != len(pairs):
            raise UserError(
                f"translation_kd: {len(pairs)} training pairs but soft targets for {len(soft_targets)}; is a "
                "data-bin there in two formats (--dataset-impl)?"
            )
        logger.info(
            f"soft targets for {len(soft_targets):,} pairs, {soft_targets.rows_without_teacher:,} of them "
            f"without a teacher row (trained on hard labels); {soft_targets}"
        )
        self.datasets[split] = SoftTargetDataset(pairs, soft_targets, self._k)

    def _soft_targets(self, epoch, combine):
        """Return the soft targets of an epoch's training set."""
        if self._stores is None:
            self._stores = TrainingStores(
                utils.split_paths(self.cfg.data),
                utils.split_paths(self.cfg.soft_targets),
                self.cfg.source_lang,
                self.cfg.target_lang,
                self.cfg.train_subset,
                self.cfg.upsample_primary,
            )
        shards = self._stores.open(combine)
        if hasattr(self._criterion, "check_teacher"):
            for soft_targets in shards:
                self._criterion.check_teacher(soft_targets.k, soft_targets.tail_temperatures)
        return shards[(epoch - 1) % len(shards)]
