"""The text of ``masked_lm_kd``: found, tokenized once, read a shard an epoch, and masked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import II, MISSING

from cmlm_kd.api.needs import Needs
from cmlm_kd.data.masking.batch import Masker, Masking, frame_batch
from cmlm_kd.data.masking.positions import (
    MASK_PROBABILITY,
    SMOOTHING,
    batch_generator,
    check_mask_probability,
    check_smoothing,
)
from cmlm_kd.data.text.corpus import Shard, TokenizedCorpus
from cmlm_kd.data.text.sources import USUAL_NAMES, find_text
from cmlm_kd.data.text.writing import tokenized_corpus
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.pieces import PieceTokenizer, SpecialIds
from fairseq_plugins.command_line.configs import PluginConfig
from fairseq_plugins.data.sized import VALIDATION_SEED, MaskedDataset

logger = logging.getLogger(__name__)

OWNER = "masked_lm_kd"


@dataclass
class UnlabelledTextConfig(PluginConfig):
    """Flags about text and what is masked in it."""

    data: str = field(
        default=MISSING,
        metadata={"help": "folder of text files, a sentence or paragraph a line, or what save_to_disk wrote"},
    )
    train_text: str = field(
        default=USUAL_NAMES["train"],
        metadata={
            "help": "to train on: files of the folder (.gz too), patterns such as 'wiki-*.txt.gz', data sets "
            "saved on disk, separated by commas"
        },
    )
    valid_text: str = field(default=USUAL_NAMES["valid"], metadata={"help": "to validate on, likewise"})
    text_column: str = field(
        default="",
        metadata={"help": "column of saved data sets; default: the only column of strings, or 'text'"},
    )
    tokenized: str = field(
        default="",
        metadata={
            "help": "directory for the tokenized text, written once and then read, by several trainings too; "
            "default: 'tokenized' in --save-dir"
        },
    )
    max_length: int = field(
        default=0,
        metadata={
            "help": "part longer lines into rows of so many positions, [CLS] and [SEP] included; "
            "0: what the model takes"
        },
    )
    masking: Masking = field(
        default="random",
        metadata={
            "help": "what to mask in training; random: each token alike; frequency: rather rare ones "
            "(DistilBERT); whole-word: words; none: nothing (TinyBERT); validation always masks at random"
        },
    )
    mask_probability: float = field(
        default=MASK_PROBABILITY, metadata={"help": "share of the tokens to predict, in (0, 1]"}
    )
    mask_smoothing: float = field(
        default=SMOOTHING,
        metadata={"help": "of --masking frequency: tokens count as count^-x; 0 or more, 0: all alike"},
    )
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")


class UnlabelledText:
    """The training and validation text of a run.

    Args:
        settings: flags about text.
        tokenizer: of student and teacher.

    Raises:
        UserError: for a setting outside its range.
    """

    def __init__(self, settings: UnlabelledTextConfig, tokenizer: PieceTokenizer) -> None:
        check_mask_probability(OWNER, settings.mask_probability)
        check_smoothing(OWNER, settings.mask_smoothing)
        self._settings, self._tokenizer = settings, tokenizer
        self._corpora: dict[str, TokenizedCorpus] = {}

    def open(self, split: str, longest: int) -> TokenizedCorpus:
        """Return the tokenized text of a split, which is written if it is not there.

        Args:
            split: ``train`` or ``valid``.
            longest: most tokens of a row.

        Raises:
            UserError: see :func:`cmlm_kd.data.text.writing.tokenized_corpus`.
        """
        if split not in self._corpora:
            self._corpora[split] = corpus = self._open(split, longest)
            logger.info(
                "%s: %d rows, %d tokens, %d shards in %s",
                *(split, len(corpus), corpus.tokens, corpus.shards, corpus.directory),
            )
            if corpus.manifest.split_lines:
                logger.warning(
                    "%s: %d lines exceed %d positions and are parted",
                    *(split, corpus.manifest.split_lines, longest + 2),
                )
        return self._corpora[split]

    def _open(self, split: str, longest: int) -> TokenizedCorpus:
        own = self._settings
        names = own.train_text if split == "train" else own.valid_text
        files = find_text(Path(own.data), names, split, own.text_column)
        directory = Path(own.tokenized or Path(own.save_dir) / "tokenized") / split
        return tokenized_corpus(directory, files, self._tokenizer, longest)

    def dataset(self, split: str, epoch: int, longest: int) -> MaskedTextDataset:
        """Return the shard of an epoch, or all of the validation text, masked.

        Args:
            split: ``train`` or ``valid``.
            epoch: from 1; an epoch of fairseq is a shard here.
            longest: most tokens of a row.
        """
        corpus, training = self.open(split, longest), split == "train"
        masking = self._settings.masking if training else "random"
        masker = Masker.of(
            cast(Masking, str(masking)),
            self._tokenizer,
            self._settings.mask_probability,
            corpus.counts if masking == "frequency" else None,
            self._settings.mask_smoothing,
        )
        return MaskedTextDataset(
            corpus.read((epoch - 1) % corpus.shards if training else None),
            self._tokenizer.special,
            masker,
            seed=self._settings.seed if training else VALIDATION_SEED,
            fixed_masks=not training,
        )

    def check(self, criterion: str, needs: Needs) -> None:
        """Refuse a criterion that learns from masked tokens alone where none are masked.

        Args:
            criterion: its name.
            needs: what it reads.

        Raises:
            UserError: naming the criterion.
        """
        if self._settings.masking == "none" and needs.student.predictions == "masked":
            raise UserError(
                f"{criterion}: learns from masked tokens, and --masking none masks none; take another "
                "--masking"
            )


class MaskedTextDataset(MaskedDataset):
    """Rows whose tokens are masked anew each epoch, or once and for all (validation).

    The mask of a row depends on seed, epoch and row only, or with frequency masking on the rows of its
    batch besides: neither workers nor a resume change it.

    Args:
        shard: the rows.
        special: ids that frame a row.
        masker: how tokens are chosen and replaced.
        seed: of the masks.
        fixed_masks: whether all epochs have the same.
    """

    def __init__(
        self, shard: Shard, special: SpecialIds, masker: Masker, *, seed: int, fixed_masks: bool
    ) -> None:
        super().__init__(seed, fixed_masks)
        self.shard, self.special, self.masker = shard, special, masker
        self.sizes = shard.sizes + 2  # (rows,), with [CLS] and [SEP]

    def __getitem__(self, index: int) -> tuple[int, NDArray[np.integer[Any]]]:
        return int(self.shard.rows[index]), self.shard[int(index)]

    def _randomness(self, rows: Sequence[int]) -> np.random.Generator:
        return batch_generator(self.seed, self.mask_epoch, rows)

    def collater(self, samples: list[tuple[int, NDArray[np.integer[Any]]]]) -> dict[str, Any]:
        """Mask, frame and pad the rows of a batch; ``{}`` for an empty one."""
        if not samples:
            return {}
        rows, texts = zip(*samples, strict=True)
        masked_texts = self.masker.mask(rows, texts, self._randomness)
        batch = frame_batch(texts, masked_texts, self.special)
        target = batch.pop("target")  # (M,)
        return {
            "id": torch.tensor(rows),
            "nsentences": len(samples),
            "ntokens": int(batch["attention_mask"].sum()),
            "net_input": batch,
            "target": target,
        }

    def ordered_indices(self) -> NDArray[np.int64]:
        """Order by length, ties at random, so that batches hold little padding."""
        order = np.random.permutation(len(self))
        return order[np.argsort(self.sizes[order], kind="mergesort")]
