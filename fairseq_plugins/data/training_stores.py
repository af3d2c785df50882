"""The stores of fairseq's training sets."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.store import ConcatenatedStores, Corpus, Part, SoftTargetStore, StoredSoftTargets

NO_STORE = "none"
"""Stands for the store of a training set that is learnt from hard labels alone."""


@dataclass
class TrainingStores:
    """Opens ``--soft-targets`` beside ``data``, in fairseq's order of training sets.

    Attributes:
        directories: data-bins, one for each epoch in turn; the first has the dictionaries.
        groups: for each of them the stores of ``train``, ``train1``, ..., separated by commas.
        source_language: suffix of the source files.
        target_language: suffix of the target files.
        subset: name of the (first) training set.
        upsample_primary: how often the first training set is repeated where there are several.
    """

    directories: list[str]
    groups: list[str]
    source_language: str
    target_language: str
    subset: str = "train"
    upsample_primary: int = 1
    _checked: dict[tuple[Path, str, str], Part] = field(default_factory=dict)

    def open(self, combine: bool) -> list[StoredSoftTargets]:
        """Return the soft targets of each directory, every store checked against its data once.

        Args:
            combine: the training set is ``train``, ``train1``, ... together, not the first alone.

        Raises:
            UserError: numbers that don't match, or a store that is missing, damaged or belongs to other data.
        """
        if len(self.directories) != len(self.groups):
            raise UserError(
                f"translation_kd: {len(self.directories)} data directories ({':'.join(self.directories)}) "
                f"but stores for {len(self.groups)} ({':'.join(self.groups)}); --soft-targets needs one for "
                "each, separated by colons (those of train, train1, ... of one directory by commas)"
            )
        return [
            self._open_directory(Path(directory), group.split(","), combine)
            for directory, group in zip(self.directories, self.groups, strict=True)
        ]

    def _open_directory(self, directory: Path, paths: list[str], combine: bool) -> StoredSoftTargets:
        splits = self._splits(directory)
        if len(paths) != len(splits):
            raise UserError(
                f"translation_kd: {directory} has {len(splits)} training sets ({', '.join(splits)}) but "
                f"--soft-targets names {len(paths)} ({','.join(paths)}); give one for each, '{NO_STORE}' for "
                "a set without soft targets"
            )
        parts = [self._open_part(directory, *pair) for pair in zip(splits, paths, strict=True)]
        if combine and len(parts) > 1:
            first = Part(parts[0].store, parts[0].rows, self.upsample_primary)
            return ConcatenatedStores([first, *parts[1:]])
        store = parts[0].store
        return ConcatenatedStores(parts[:1]) if store is None else store

    def _splits(self, directory: Path) -> list[str]:
        """Return the names of the training sets that fairseq would concatenate; at least the first."""
        source, target = self.source_language, self.target_language
        numbered = (f"{self.subset}{number}" for number in itertools.count(1))

        def exists(name: str) -> bool:
            pairs = (f"{source}-{target}", f"{target}-{source}")
            return any((directory / f"{name}.{pair}.{target}.idx").is_file() for pair in pairs)

        return [self.subset, *itertools.takewhile(exists, numbered)]

    def _open_part(self, directory: Path, split: str, path: str) -> Part:
        key = (directory, split, path)
        if key not in self._checked:
            dictionary = Path(self.directories[0], f"dict.{self.target_language}.txt")
            corpus = Corpus.of_databin(
                directory, split, self.source_language, self.target_language, dictionary
            )
            store = None
            if path != NO_STORE:
                store = SoftTargetStore.open(path, checksums=True)
                store.check(corpus)
            self._checked[key] = Part(store, len(corpus.target_lengths))
        return self._checked[key]
