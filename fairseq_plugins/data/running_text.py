"""The text of ``masked_lm_kd``: found, written down in pieces once, read a shard an epoch."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, MISSING

from cmlm_kd.data.masking.batch import Masking, TextHiding
from cmlm_kd.data.masking.frequency import SMOOTHING, check_smoothing
from cmlm_kd.data.masking.positions import MASK_PROBABILITY, check_mask_probability
from cmlm_kd.data.text.sources import USUAL_NAMES, find_text
from cmlm_kd.data.text.writing import tokenized_corpus
from cmlm_kd.errors import UserError
from fairseq_plugins.bridge import choices
from fairseq_plugins.data.masked_text import MaskedTextDataset

logger = logging.getLogger(__name__)

OWNER = "masked_lm_kd"
VALIDATION_SEED = 1
"""Of the masks that never change, whatever the seed of a training."""


@dataclass
class RunningTextConfig(FairseqDataclass):
    """Flags about text and what is hidden in it."""

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
            "help": "directory for the text in pieces, written once and then read, by several trainings too; "
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
    masking: choices(Masking) = field(
        default="random",
        metadata={
            "help": "what to hide in training; random: each piece alike; frequency: rather rare ones "
            "(DistilBERT); whole-word: words; none: nothing (TinyBERT); validation always hides at random"
        },
    )
    mask_probability: float = field(
        default=MASK_PROBABILITY, metadata={"help": "share of the pieces to predict, in (0, 1]"}
    )
    mask_smoothing: float = field(
        default=SMOOTHING,
        metadata={"help": "of --masking frequency: pieces count as count^-x; 0 or more, 0: all alike"},
    )
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")


class RunningText:
    """The training and validation text of a run.

    Args:
        settings: :class:`RunningTextConfig`.
        tokenizer: :class:`cmlm_kd.tokenization.pieces.PieceTokenizer`.

    Raises:
        UserError: for a setting outside its range.
    """

    def __init__(self, settings, tokenizer):
        check_mask_probability(OWNER, settings.mask_probability)
        check_smoothing(OWNER, settings.mask_smoothing)
        self._settings, self._tokenizer = settings, tokenizer
        self._corpora = {}

    def open(self, split, longest):
        """Return the text of a split in pieces, which is written if it is not there.

        Args:
            split: ``train`` or ``valid``.
            longest: most pieces of a row.

        Raises:
            UserError: see :func:`cmlm_kd.data.text.writing.tokenized_corpus`.
        """
        if split not in self._corpora:
            self._corpora[split] = corpus = self._open(split, longest)
            logger.info(
                "%s: %d rows, %d pieces, %d shards in %s",
                *(split, len(corpus), corpus.pieces, corpus.shards, corpus.directory),
            )
            if corpus.manifest["split_lines"]:
                logger.warning(
                    "%s: %d lines exceed %d positions and are parted",
                    *(split, corpus.manifest["split_lines"], longest + 2),
                )
        return self._corpora[split]

    def _open(self, split, longest):
        own = self._settings
        names = own.train_text if split == "train" else own.valid_text
        files = find_text(Path(own.data), names, split, own.text_column)
        directory = Path(own.tokenized or Path(own.save_dir) / "tokenized") / split
        return tokenized_corpus(directory, files, self._tokenizer, longest)

    def dataset(self, split, epoch, longest):
        """Return the shard of an epoch, or all of the validation text, with pieces hidden.

        Args:
            split: ``train`` or ``valid``.
            epoch: from 1; an epoch of fairseq is a shard here.
            longest: most pieces of a row.
        """
        corpus, training = self.open(split, longest), split == "train"
        masking = self._settings.masking if training else "random"
        hiding = TextHiding.of(
            str(masking),
            self._tokenizer,
            self._settings.mask_probability,
            corpus.counts if masking == "frequency" else None,
            self._settings.mask_smoothing,
        )
        return MaskedTextDataset(
            corpus.read((epoch - 1) % corpus.shards if training else None),
            self._tokenizer.special,
            hiding,
            seed=self._settings.seed if training else VALIDATION_SEED,
            fixed_masks=not training,
        )

    def check(self, criterion, needs):
        """Refuse a criterion that learns from hidden pieces alone where none are hidden.

        Args:
            criterion: its name.
            needs: what it reads.

        Raises:
            UserError: naming the criterion.
        """
        if self._settings.masking == "none" and needs.student.predictions == "masked":
            raise UserError(
                f"{criterion}: learns from hidden pieces, and --masking none hides none; take another "
                "--masking"
            )
