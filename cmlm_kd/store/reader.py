"""A complete store, memory-mapped: sentences as NumPy views, batches as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlm_kd.errors import UserError
from cmlm_kd.store.batches import SentenceTargets, StoredSoftTargets, check_lengths, differing
from cmlm_kd.store.corpus import Corpus
from cmlm_kd.store.format import ShardView, open_shard, verify_checksums
from cmlm_kd.store.manifest import MANIFEST_NAME, PARTIAL_NAME, Manifest
from cmlm_kd.system.mapped import let_go


class SoftTargetStore(StoredSoftTargets):
    """A complete store, memory-mapped; item i belongs to target sentence i of the corpus.

    Attributes:
        path: the directory.
        manifest: its contents.
        k: entries per token.
        tail_temperatures: the n temperatures of the tail.
        vocabulary_size: entries of the target dictionary.
        ids_dtype: the type of the ids on disk.
    """

    def __init__(self, path: Path, manifest: Manifest, shards: Sequence[ShardView]) -> None:
        self.path = path
        self.manifest = manifest
        self.k = manifest.header.k
        self.tail_temperatures = manifest.header.tail_temperatures
        self.vocabulary_size = manifest.header.vocabulary_size
        self.ids_dtype = manifest.header.ids_dtype
        self.shards = tuple(shards)
        self._rows = manifest.header.rows
        self._shard_rows = manifest.header.shard_rows
        self._views = [
            (shard.ids, shard.logits, shard.tail, memoryview(shard.offsets.data)) for shard in shards
        ]

    @classmethod
    def open(cls, path: Path | str, checksums: bool = False) -> SoftTargetStore:
        """Open a store.

        Args:
            path: the directory.
            checksums: read every byte and compare it with the manifest's checksums; without it, sizes,
                places, types and row offsets are checked.

        Raises:
            UserError: no store there, unfinished, of another format version, or damaged.
        """
        path = Path(path).resolve()
        manifest_path = path / MANIFEST_NAME
        if not manifest_path.is_file():
            if (path / PARTIAL_NAME).is_file():
                raise UserError(
                    f"store: {path} is unfinished; run the same 'cmlm-kd dump' again, it goes on where it "
                    "was, or 'cmlm-kd merge' the parts of several workers"
                )
            raise UserError(
                f"store: {path} holds no store (no {MANIFEST_NAME}); give the directory that 'cmlm-kd dump' "
                "wrote"
            )
        manifest = Manifest.read(manifest_path)
        planned = [(plan.file, plan.first_row, plan.rows) for plan in manifest.header.plan()]
        if planned != [(shard.file, shard.first_row, shard.rows) for shard in manifest.shards]:
            raise UserError(
                f"store: {manifest_path} doesn't list the shards of its plan; run 'cmlm-kd dump' again"
            )
        shards = [open_shard(path / shard.file, manifest, shard) for shard in manifest.shards]
        if checksums:  # last: a file that is missing or too short has a clearer message
            verify_checksums(path, manifest)
        return cls(path, manifest, shards)

    def __reduce__(self) -> tuple[Callable[..., SoftTargetStore], tuple[Path]]:
        # A worker maps the files itself: what is sent to it is the path.
        return SoftTargetStore.open, (self.path,)

    def __len__(self) -> int:
        return self._rows

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row, ``(rows,)``, read anew; 0 for a sentence without a teacher row."""
        return np.concatenate([np.diff(shard.offsets) for shard in self.shards])

    @property
    def name(self) -> str:
        """Its signature and its directory."""
        return f"store {self.signature} {self.path}"

    @property
    def place(self) -> str:
        """Its directory."""
        return str(self.path)

    @property
    def rows_without_teacher(self) -> int:
        """Sentences without a teacher row."""
        return self.manifest.rows_without_teacher

    @property
    def signature(self) -> str:
        """Six hexadecimal digits that name the contents, for the KD signature."""
        return self.manifest.signature

    def __getitem__(self, index: int) -> SentenceTargets | None:  # type: ignore[override]
        """Return the soft targets of sentence ``index``, None where the teacher has no row for it."""
        if index < 0:
            index += self._rows
        if not 0 <= index < self._rows:
            raise IndexError(f"row {index} of a store of {self._rows}")
        shard, row = divmod(index, self._shard_rows)
        ids, logits, tail, offsets = self._views[shard]
        start, end = offsets[row], offsets[row + 1]
        if start == end:
            return None
        span = slice(start, end)
        # SentenceTargets(...) is a Python function and would take a quarter of the time of this method.
        return tuple.__new__(SentenceTargets, (ids[span], logits[span], tail[span]))

    def check(self, corpus: Corpus) -> None:
        """Refuse data that the store was not dumped for.

        Raises:
            UserError: another dictionary, number of sentences, corpus or sentence length, naming both values.
        """
        header = self.manifest.header
        comparisons: tuple[tuple[str, object, object], ...] = (
            ("dictionary", header.dictionary_hash[:12], corpus.dictionary_hash[:12]),
            ("a corpus of sentences:", header.rows, len(corpus.target_lengths)),
            ("corpus", header.corpus_hash[:12], corpus.corpus_hash[:12]),
        )
        for name, found, wanted in comparisons:
            if wanted != found:
                raise UserError(
                    f"store: {self.path} was dumped for {name} {found}, the data has {wanted}; run 'cmlm-kd "
                    "dump' for this data-bin or pass the store that belongs to it"
                )
        targets = corpus.target_lengths
        for shard, record in zip(self.shards, self.manifest.shards, strict=True):
            rows = slice(record.first_row, record.first_row + record.rows)
            if differing(np.diff(shard.offsets), targets[rows]).size:
                check_lengths(self.lengths, targets)
            let_go(shard.file)
