"""``--task cmlm``: fine-tune BERT as a conditional masked language model on pairs."""

import sys
from dataclasses import dataclass, field
from typing import Any

from fairseq import utils
from fairseq.data import Dictionary
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from cmlm_kd.data.masking.positions import MASK_PROBABILITY, check_mask_probability
from cmlm_kd.fairseq_files.checkpoint_keys import BERT_CONFIG, DICTIONARY_HASH, TOKENIZER_HASH
from cmlm_kd.fairseq_files.databin import dictionary_hash
from cmlm_kd.models.encoders.pretrained import load_config
from cmlm_kd.tokenization.positions import usable_positions
from fairseq_plugins.data.masked_pairs import MaskedPairDataset
from fairseq_plugins.data.prepared import VERIFY_HELP, PreparedData
from fairseq_plugins.data.sized import VALIDATION_SEED
from fairseq_plugins.tasks.finite_loss import FiniteLossMixin
from fairseq_plugins.training.folds import FoldConfig, FoldMixin
from fairseq_plugins.training.precision import AutocastMixin, PrecisionConfig


@dataclass
class CMLMTaskConfig(PrecisionConfig, FoldConfig):
    """Flags of ``--task cmlm``."""

    data: str = field(
        default=MISSING, metadata={"help": "data-bin written by 'cmlm-kd prepare' (A:B shards by epoch)"}
    )
    source_lang: str | None = field(
        default=None, metadata={"help": "source language, as prepared", "argparse_alias": "-s"}
    )
    target_lang: str | None = field(
        default=None, metadata={"help": "target language, as prepared", "argparse_alias": "-t"}
    )
    mask_probability: float = field(
        default=MASK_PROBABILITY,
        metadata={"help": "share of target positions to mask, in (0, 1]; EOS counts"},
    )
    verify_data: bool = field(default=False, metadata={"help": VERIFY_HELP})
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")


@register_task("cmlm", dataclass=CMLMTaskConfig)
class CMLMTask(FoldMixin, AutocastMixin, FiniteLossMixin, FairseqTask):
    """``[CLS] source [SEP] target [SEP]``, masked target positions, labels in the student's vocabulary."""

    without_teacher = "--task cmlm"

    def __init__(self, cfg: CMLMTaskConfig, prepared: PreparedData, target_dictionary: Dictionary) -> None:
        super().__init__(cfg)
        check_mask_probability("cmlm", cfg.mask_probability)
        self.prepared = prepared
        self.target_dict = target_dictionary
        # Until the model is built: those of the teacher that the data were prepared with, if there was one.
        teacher = prepared.path / "teacher"
        has_model = (teacher / "config.json").is_file()
        self.teacher_positions = usable_positions(load_config(teacher)) if has_model else sys.maxsize

    @classmethod
    def setup_task(cls, cfg: CMLMTaskConfig, **kwargs: Any) -> "CMLMTask":
        """Read the manifest and the dictionary."""
        prepared = PreparedData(utils.split_paths(cfg.data)[0], cfg.source_lang, cfg.target_lang)
        return cls(cfg, prepared, Dictionary.load(str(prepared.target_dictionary)))

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the teacher and note in its checkpoints what 'cmlm-kd dump' needs besides the weights."""
        model = super().build_model(cfg, from_checkpoint)
        self.teacher_positions = model.max_positions()
        self.state.merge_state_dict(
            {
                BERT_CONFIG: model.teacher.encoder.config.to_json_string(use_diff=False),
                **self.entries,
            }
        )
        self.note_fold()
        return model

    @property
    def entries(self) -> dict[str, str]:
        """What the ids stand for: checkpoints carry it, and one with another is not gone on from."""
        return {
            DICTIONARY_HASH: dictionary_hash(self.prepared.target_dictionary),
            TOKENIZER_HASH: self.prepared.manifest.tokenizer.hash,
        }

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Load one shard of the training text, or a validation split with masks that never change."""
        paths = utils.split_paths(self.cfg.data)
        training = split.startswith("train")
        path = paths[(epoch - 1) % len(paths)] if training else paths[0]
        languages = (self.cfg.source_lang, self.cfg.target_lang)
        prepared = PreparedData(path, *languages, whole=self.cfg.verify_data)
        self.prepared.check_same_dictionaries(prepared)
        parts = prepared.splits(split, combine)
        if not parts:
            raise FileNotFoundError(f"Dataset not found: {split} ({path})")  # what fairseq expects
        self.datasets[split] = MaskedPairDataset(
            parts,
            prepared.pair_format,
            self.teacher_positions,
            seed=self.cfg.seed if training else VALIDATION_SEED,
            mask_probability=self.cfg.mask_probability,
            fixed_masks=not training,
            left_out=self.training_fold() if training else None,
        )

    def max_positions(self) -> int:
        """Return the teacher's positions."""
        return self.teacher_positions

    @property
    def source_dictionary(self) -> None:
        """The teacher reads its own ids: there is no source dictionary."""
        return None

    @property
    def target_dictionary(self) -> Dictionary:
        """Return the student's target dictionary, which labels are entries of."""
        return self.target_dict
