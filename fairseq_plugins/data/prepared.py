"""Prepared data-bins (``cmlm-kd prepare``) as fairseq's tasks see them."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from cmlm_kd.data.translation.integrity import check_databin
from cmlm_kd.data.translation.manifest import is_databin, load_manifest
from cmlm_kd.data.translation.pairs import PairFormat
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, dictionary_hash, is_mapped

VERIFY_HELP = (
    "read every byte of the data-bin before it is used and compare it with prepare.json; without it "
    "dictionaries and indexes are compared"
)
"""Of the flag ``--verify-data``."""


class PreparedData:
    """One prepared data-bin: its languages, its dictionaries' teacher ids and its splits.

    Args:
        path: of the data-bin.
        source_language, target_language: what they should be; None: as prepared.
        whole: compare every byte of a split with the manifest when it is opened, not dictionaries and indexes
            alone.

    Raises:
        UserError: if the directory was not written by ``cmlm-kd prepare``, is damaged, or does not hold the
            languages asked for.
    """

    def __init__(
        self,
        path: str,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.path, self._whole = Path(path), whole
        self.manifest = load_manifest(self.path)
        self.source_language = self.manifest.source_language
        self.target_language = self.manifest.target_language
        asked = (source_language or self.source_language, target_language or self.target_language)
        if asked != (self.source_language, self.target_language):
            raise UserError(
                f"{path} was prepared for {self.source_language}-{self.target_language}, "
                f"not {asked[0]}-{asked[1]}; prepare the other direction into a directory of its own"
            )
        check_databin(self.path, self.manifest, splits=())

    @property
    def pair_format(self) -> PairFormat:
        """How the teacher frames a pair of this data."""
        return PairFormat.of_databin(self.path, self.manifest)

    @property
    def target_dictionary(self) -> Path:
        """The dictionary that labels are entries of."""
        return self.manifest.target_dictionary(self.path)

    def check_same_dictionaries(self, other: "PreparedData") -> None:
        """Refuse another data-bin whose entries are not those of this one.

        Raises:
            UserError: naming both directories and what differs.
        """
        if self.manifest.tokenizer.hash != other.manifest.tokenizer.hash:
            raise UserError(
                f"{self.path} and {other.path} were prepared with different tokenizers; prepare both alike"
            )
        mine, theirs = dictionary_hash(self.target_dictionary), dictionary_hash(other.target_dictionary)
        if mine != theirs:
            raise UserError(
                f"{self.path} has target dictionary {mine[:8]}, {other.path} has {theirs[:8]}; "
                "the parts of one training set need the same"
            )

    def splits(self, split: str, combine: bool) -> list[tuple[Databin, Databin]]:
        """Return source and target of a split, and with ``combine`` of ``split1``, ``split2``, ... too.

        Raises:
            UserError: if source and target have different numbers of sentences, or a file is damaged.
        """
        names = itertools.chain([split], (f"{split}{n}" for n in itertools.count(1)) if combine else ())
        found = list(itertools.takewhile(self._has_split, names))
        check_databin(self.path, self.manifest, splits=found, whole=self._whole)
        return [self._split(name) for name in found]

    def _split(self, split: str) -> tuple[Databin, Databin]:
        source, target = (
            Databin.open(self._prefix(split, language), self.manifest.dictionaries[language].size)
            for language in (self.source_language, self.target_language)
        )
        if len(source) != len(target):
            raise UserError(
                f"{self.path}, {split}: {len(source)} sources but {len(target)} targets; prepare again"
            )
        return source, target

    def _has_split(self, split: str) -> bool:
        return Path(f"{self._prefix(split, self.source_language)}.idx").is_file()

    def _prefix(self, split: str, language: str) -> Path:
        return self.manifest.file(self.path, split, language)


def check_fairseq_data(directories: Sequence[str], path: str, split: str, *, whole: bool) -> None:
    """Look at the files of a split, and of the dictionaries, that fairseq is going to read.

    Args:
        directories: all of the training; the first has the dictionaries.
        path: the one that is read now.
        split: its name; ``train`` stands for ``train1``, ... too.
        whole: compare every byte with ``prepare.json``.

    Raises:
        UserError: a file is not what 'cmlm-kd prepare' wrote, an index points to other sentences, or the
            directories have different dictionaries.
    """
    data = Path(path)
    if is_databin(data):
        manifest = load_manifest(data)
        names = [name for name in manifest.splits if name.rstrip("0123456789") == split or name == split]
        check_databin(data, manifest, splits=names, whole=whole)
    else:  # of fairseq-preprocess
        for index in sorted(data.glob(f"{split}*.idx")):
            if is_mapped(index):
                Databin.open(index.with_suffix(""))
    for first in sorted(Path(directories[0]).glob("dict.*.txt")):
        own = data / first.name
        if own.is_file() and dictionary_hash(own) != dictionary_hash(first):
            raise UserError(
                f"{own} is dictionary {dictionary_hash(own)[:8]}, {first} is {dictionary_hash(first)[:8]}; "
                "the parts of one training set need the same"
            )
