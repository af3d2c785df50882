"""A corpus with its teachers: ``classification_kd`` trains on one of them, ``multitask_kd`` on several."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import II

from cmlm_kd.api.needs import NOTHING_ELSE, Needs
from cmlm_kd.api.signals import Ensembling, TeacherSignal
from cmlm_kd.api.sources import SignalSource, TeacherBatch
from cmlm_kd.data.classification import ReadingOptions, hold_out, read_examples
from cmlm_kd.data.classification.corpora import class_names_of
from cmlm_kd.data.classification.examples import Examples, check_every_class_occurs, check_pairs
from cmlm_kd.data.classification.inputs import EncodedExamples, SentenceInputs
from cmlm_kd.data.classification.ranking import hold_out_queries
from cmlm_kd.errors import UserError
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.teachers.cache import CacheIdentity, open_cache, write_cache
from cmlm_kd.teachers.cached_arrays import CACHE_MANIFEST
from cmlm_kd.teachers.ensemble import TeacherEnsemble
from fairseq_plugins.data.sentences import SentenceDataset
from fairseq_plugins.training.precision import PrecisionConfig
from fairseq_plugins.training.processes import by_first_worker

logger = logging.getLogger(__name__)

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What students and teachers read of a batch."""


PROBED_EXAMPLES = 4


@dataclass
class DistillationCorpusConfig(PrecisionConfig):
    """Flags that mean the same for one corpus and for several."""

    hold_out: float = field(
        default=0.0,
        metadata={"help": "validate on this share of the training set, in [0, 1), instead of the dev set"},
    )
    hold_out_seed: int = field(default=1, metadata={"help": "which examples --hold-out takes, 0 or more"})
    skip_malformed_rows: bool = field(
        default=False,
        metadata={
            "help": "leave out lines with a wrong number of columns, or without sentence or label, "
            "instead of refusing the file"
        },
    )
    max_length: int = field(
        default=0, metadata={"help": "cut inputs to so many tokens, 3 or more; 0: what the model takes"}
    )
    ensemble: Ensembling = field(
        default="probabilities", metadata={"help": "what of several teachers is averaged"}
    )
    all_gather_list_size: int = II("common.all_gather_list_size")


@dataclass(frozen=True)
class CorpusSettings:
    """Where a corpus is, how it is read, and who teaches it.

    Attributes:
        folder: of the corpus.
        reading: how it is read; ``labels`` are the user's choice.
        train_file: of the training set, where it is not the published one.
        valid_file: of the dev set, likewise.
        hold_out: share of the training set to validate on, 0 for the dev set.
        hold_out_seed: which examples.
        teachers: Hugging Face directories.
        teacher_labels: names of the teachers' classes, where their own say nothing.
        ensemble: what of several teachers is averaged.
        teacher_cache: directory of their outputs for the training set; empty: they are asked online.
        ranks: whether pairs are a query's candidates, of which teachers tell the relevance, not the class.
    """

    folder: Path
    reading: ReadingOptions
    train_file: str = ""
    valid_file: str = ""
    hold_out: float = 0.0
    hold_out_seed: int = 1
    teachers: tuple[str, ...] = ()
    teacher_labels: tuple[str, ...] = ()
    ensemble: Ensembling = "probabilities"
    teacher_cache: str = ""
    ranks: bool = False


def plain_ensembling(choice: Any) -> Ensembling:
    """Return a choice of ``--ensemble``, an enumeration of fairseq's, as a plain string."""
    return "logits" if str(choice) == "logits" else "probabilities"


class DistillationCorpus:
    """The examples of a corpus, read once, and what its teachers say about them.

    Args:
        settings: see :class:`CorpusSettings`.

    Attributes:
        settings: the same.
        teachers: :class:`TeacherEnsemble`, None before :meth:`load_teachers` and without.
        known_labels: classes of the training set once it is read, or of a checkpoint; None before.
        known_pairs: whether its examples are pairs, likewise.
    """

    def __init__(self, settings: CorpusSettings) -> None:
        self.settings = settings
        self.teachers: TeacherEnsemble | None = None
        self.known_labels: tuple[str, ...] | None = None
        self.known_pairs: bool | None = None
        self._read: dict[str, Examples] = {}
        self._cache: SignalSource | None = None

    # -- examples --------------------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the logits; empty for scores."""
        if self.known_labels is None:
            self.known_labels = tuple(self.examples("train").labels)
        return self.known_labels

    def examples(self, split: str) -> Examples:
        """Read a split once; with ``hold_out``, ``train`` and ``valid`` are parts of the training set."""
        if split in self._read:
            return self._read[split]
        own, held = self.settings, self.settings.hold_out
        if split == "train" or (split == "valid" and held):
            if held and own.reading.unlabelled:
                raise UserError(
                    "--hold-out validates on a part of the training set, which --unlabelled says has no "
                    "labels; leave one of them out"
                )
            examples = read_examples(own.folder, "train", own.reading, own.train_file)
            check_every_class_occurs(examples)
            self.known_pairs = examples.second is not None
            if held:
                parts = (hold_out_queries if own.ranks else hold_out)(examples, held, own.hold_out_seed)
                self._read.update(zip(("train", "valid"), parts, strict=True))
            else:
                self._read["train"] = examples
        else:
            file = own.valid_file if split == "valid" else ""
            chosen = {**vars(own.reading), "labels": own.reading.labels or self.labels, "unlabelled": False}
            examples = read_examples(own.folder, split, ReadingOptions(**chosen), file)
            check_pairs(examples, self.known_pairs, "the training set has")
            self._read[split] = examples
        return self._read[split]

    def dataset(self, split: str, inputs: SentenceInputs, *, online: bool) -> SentenceDataset:
        """Encode a split for the student, and for teachers with another tokenizer if they are asked online.

        Args:
            split: which.
            inputs: the student's.
            online: whether teachers will read the training set's batches.
        """
        examples = self.examples(split)
        others = {}
        if split == "train" and online and self.teachers is not None and not self.settings.teacher_cache:
            foreign = self.teachers.with_other_tokenizers(inputs.hash)
            others = {
                position: EncodedExamples(examples, model.inputs) for position, model in foreign.items()
            }
        encoded = EncodedExamples(examples, inputs)
        limit = inputs.max_length or encoded.sizes.max() + 1  # 0: none
        logger.info(
            "%s, %s: %d examples, up to %d tokens, %d cut at --max-length or near it",
            *(examples.source, split, len(examples), encoded.sizes.max(), (encoded.sizes >= limit).sum()),
        )
        return SentenceDataset(examples, encoded, others, shuffle=split == "train")

    # -- teachers --------------------------------------------------------------------------------------

    def load_teachers(self, inputs: SentenceInputs, max_length: int) -> None:
        """Load the teachers, if there are any, and look whether they fit the data and the student's inputs.

        Args:
            inputs: the student's.
            max_length: the user's, 0 for none.
        """
        own = self.settings
        if not own.teachers or self.teachers is not None:
            return
        self.teachers = TeacherEnsemble.load(
            own.teachers,
            () if own.ranks else self.labels,
            ensembling=plain_ensembling(own.ensemble),
            max_length=max_length or inputs.max_length,
            values=class_names_of(own.reading.corpus),
            teacher_labels=own.teacher_labels,
        )
        self.teachers.check_lengths(inputs.hash, inputs.max_length)
        if "train" in self._read:  # not where a checkpoint is loaded
            for member in self.teachers.members:
                check_pairs(self._read["train"], member.model.reads_pairs, f"{member.model.name} reads")

    def open_cache(self, needs: Needs, *, bfloat16: bool, cpu: bool) -> None:
        """Open the cache of the training set, if there is to be one; the first worker writes it if need be.

        Args:
            needs: what the criterion reads.
            bfloat16: whether teachers compute in bfloat16.
            cpu: whether the user wants no GPU.
        """
        if not self.settings.teacher_cache or self.teachers is None:
            return
        path, examples = Path(self.settings.teacher_cache), self.examples("train")
        identity = CacheIdentity.of(self.teachers, examples, needs, "bfloat16" if bfloat16 else "float32")
        by_first_worker(lambda: self._write_cache(path, examples, needs, identity, cpu))
        cache = open_cache(path, identity, self.teachers.ensembling)
        self._cache = cache
        if self.teachers.labels:
            logger.info("%s: %s", examples.source, cache.summary(examples))

    def _write_cache(
        self, path: Path, examples: Examples, needs: Needs, identity: CacheIdentity, cpu: bool
    ) -> None:
        """Ask the teachers, unless they have been asked."""
        if self.teachers is not None and not (path / CACHE_MANIFEST).exists():
            device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
            logger.info("asking the teachers about %d examples, for %s", len(examples), path)
            write_cache(path, self.teachers, examples, needs, identity, device)

    def probe(self, dataset: SentenceDataset, needs: Needs, *, bfloat16: bool) -> None:
        """Ask teachers that will be asked online about the longest examples, before the first update.

        A teacher whose numbers overflow mostly does so on these; others end the run when their turn comes.
        """
        if self._cache is None:
            longest = dataset.sizes.argsort(kind="stable")[-PROBED_EXAMPLES:]
            self.signal(dataset.collater(longest.tolist()), needs, bfloat16=bfloat16)

    def signal(self, sample: Mapping[str, Any], needs: Needs, *, bfloat16: bool) -> TeacherSignal:
        """Return what the teachers say about a batch of the training set, from the cache or online."""
        source = self.teachers if self._cache is None else self._cache
        if source is None:
            raise ValueError(f"{self.settings.folder}: load_teachers comes before signal")
        rows, place = sample["id"], self.examples("train").place
        batch = TeacherBatch(
            rows,
            {name: sample["net_input"][name] for name in INPUTS if name in sample["net_input"]},
            other_inputs=sample.get("teacher_input", {}),
            place=lambda row: place(int(rows[row])),
        )
        with bfloat16_autocast(bfloat16, rows.device):
            return source.signal(batch, needs.teacher or NOTHING_ELSE, dropout=needs.teacher_dropout)
