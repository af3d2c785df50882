"""A store's description of itself: the header fixed at its creation, and the manifest of its shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cmlm_kd.errors import UserError
from cmlm_kd.system.manifests import check_document, check_seal, read_object, sealed
from cmlm_kd.system.ranges import POSITIVE

FORMAT_NAME = "cmlm-kd-soft-targets"
FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
_CHECKED_ALONE = ("shards", "tokens", "rows_without_teacher")
"""What is compared with the shards themselves: a wrong record of one is mended by the next dump."""
PARTIAL_NAME = "manifest.partial.json"
"""The manifest of a store that is still being written; renamed to ``manifest.json`` by the last step."""

TEACHER_KIND = "teacher_kind"
"""The setting that says what kind of teacher spoke; none where it was a C-MLM, as all were once."""

C_MLM = "C-MLM"
"""The kind of a teacher that fills gaps."""

_MEND = "put back a copy of it, or delete the store and run 'cmlm-kd dump' again"

SettingValue = str | int | float | bool
"""A value that JSON returns unchanged."""


@dataclass(frozen=True)
class ShardPlan:
    """The sentences ``[first_row, first_row + rows)`` of the corpus, which share one file."""

    index: int
    first_row: int
    rows: int
    file: str


@dataclass(frozen=True)
class ShardRecord:
    """A complete shard.

    Attributes:
        file: name inside the store.
        first_row: row of the corpus that its first row is.
        rows: sentences.
        rows_without_teacher: sentences without a teacher row.
        tokens: target tokens that have soft targets.
        size: bytes.
        sha256: checksum of the file, hexadecimal.
    """

    file: str
    first_row: int
    rows: int
    rows_without_teacher: int
    tokens: int
    size: int
    sha256: str


@dataclass(frozen=True)
class StoreHeader:
    """Everything about a store that is known before its first shard is written.

    Attributes:
        rows: sentences of the corpus.
        k: entries per token, 1 to ``vocabulary_size``.
        tail_temperatures: temperatures (> 0) at which the log-mass outside the k entries is kept; at least
            one.
        vocabulary_size: entries of the student's target dictionary.
        dictionary_hash: of that dictionary (:func:`cmlm_kd.fairseq_files.databin.dictionary_hash`).
        corpus_hash: of source and target (:func:`cmlm_kd.fairseq_files.databin.corpus_hash`).
        teacher_hash: of the teacher's weights and configuration.
        shard_rows: sentences a shard; the last may be shorter.
        settings: whatever else decides the bytes (mask stride, precision, batch size, ...). A resumed dump
            must have the same.
        environment: hardware, threads and library versions
            (:func:`cmlm_kd.system.environment.describe_environment`). A resumed dump may differ here, at the
            price of byte-identity.

    Raises:
        UserError: a value is out of its range.
    """

    rows: int
    k: int
    tail_temperatures: tuple[float, ...]
    vocabulary_size: int
    dictionary_hash: str
    corpus_hash: str
    teacher_hash: str
    shard_rows: int = 4096
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    environment: Mapping[str, SettingValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.vocabulary_size:
            raise UserError(
                f"store: k is {self.k}; it must be from 1 to the vocabulary's {self.vocabulary_size} entries"
            )
        if self.rows < 1:
            raise UserError("store: the corpus has no sentence; check the data-bin")
        if self.shard_rows < 1:
            raise UserError(f"store: {self.shard_rows} sentences a shard; at least 1 is needed")
        if not self.tail_temperatures:
            raise UserError("store: no tail temperature given; name at least one, such as 1")
        for temperature in self.tail_temperatures:
            if not POSITIVE.contains(temperature):
                raise UserError(f"store: tail temperature {temperature} must be positive and finite")

    @property
    def ids_dtype(self) -> np.dtype[Any]:
        """The narrowest type that holds every entry of the vocabulary: uint16 or uint32."""
        return np.dtype(np.uint16 if self.vocabulary_size <= 1 << 16 else np.uint32)

    @property
    def teacher_kind(self) -> str:
        """What kind of teacher spoke, to be shown: equal kinds of a mean are counted."""
        kind = str(self.settings.get(TEACHER_KIND, C_MLM))
        members = kind.removeprefix("mean of ").split(", ")
        if len(members) == 1 or len({*members}) > 1:
            return kind
        return f"mean of {len(members)}: {members[0]}"

    def plan(self) -> list[ShardPlan]:
        """Return the shards, in corpus order; they depend on nothing but ``rows`` and ``shard_rows``."""
        count = -(-self.rows // self.shard_rows)
        return [
            ShardPlan(
                index,
                index * self.shard_rows,
                min(self.shard_rows, self.rows - index * self.shard_rows),
                f"shard-{index:05d}-of-{count:05d}.arrow",
            )
            for index in range(count)
        ]

    def identity(self) -> dict[str, Any]:
        """Return every field but the environment, as JSON sees it, settings one by one."""
        fields = {**asdict(self), "tail_temperatures": list(self.tail_temperatures)}
        del fields["environment"], fields["settings"]
        return {**fields, **{f"settings.{name}": value for name, value in sorted(self.settings.items())}}


@dataclass(frozen=True)
class _Document:
    """The types of what a manifest's file holds."""

    rows: int
    k: int
    tail_temperatures: list[float]
    vocabulary_size: int
    dictionary_hash: str
    corpus_hash: str
    teacher_hash: str
    shard_rows: int
    settings: dict[str, Any]
    environments: list[dict[str, Any]]
    shards: list[ShardRecord]


@dataclass(frozen=True)
class Manifest:
    """The contents of ``manifest.json``.

    Attributes:
        header: as given at creation; its ``environment`` is the first of ``environments``.
        shards: the complete shards, in corpus order.
        environments: one for each environment that wrote part of the store, oldest first.
    """

    header: StoreHeader
    shards: tuple[ShardRecord, ...]
    environments: tuple[Mapping[str, SettingValue], ...]

    @property
    def tokens(self) -> int:
        """Target tokens that have soft targets."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def rows_without_teacher(self) -> int:
        """Sentences that the student learns from hard labels alone."""
        return sum(shard.rows_without_teacher for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    @property
    def signature(self) -> str:
        """Six hexadecimal digits that name the contents: what was asked for and the bytes that came of it."""
        contents = [self.header.identity(), [shard.sha256 for shard in self.shards]]
        return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:6]

    def to_json(self) -> str:
        """Return the text of the file; equal stores have equal text (it holds no date and no path)."""
        header = asdict(self.header)
        del header["environment"]
        document = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            **header,
            "ids_dtype": self.header.ids_dtype.name,
            "tokens": self.tokens,
            "rows_without_teacher": self.rows_without_teacher,
            "environments": [dict(environment) for environment in self.environments],
            "shards": [vars(shard) for shard in self.shards],
        }
        return json.dumps(sealed(document, _CHECKED_ALONE), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            UserError: it is not one, is damaged, or has a format version that this release doesn't read.
        """
        document = read_object(path, _MEND, owner="store: ")
        found = (document.get("format"), document.get("version"))
        if found != (FORMAT_NAME, FORMAT_VERSION):
            raise UserError(
                f"store: {path} has format {found[0]!r} version {found[1]!r}, this release reads "
                f"{FORMAT_NAME!r} version {FORMAT_VERSION}; run 'cmlm-kd dump' again or use the release that "
                "wrote it"
            )
        check_document(path, document, _Document, _MEND, owner="store: ")
        if not document["environments"]:
            raise UserError(f"store: {path} is damaged (environments is [], it has at least one); {_MEND}")
        check_seal(path, document, _MEND, owner="store: ", but=_CHECKED_ALONE)
        return cls._from_document(document)

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> Manifest:
        names = set(StoreHeader.__dataclass_fields__) - {"environment", "tail_temperatures"}
        environments = tuple(document["environments"])
        header = StoreHeader(
            **{name: document[name] for name in names},
            tail_temperatures=tuple(document["tail_temperatures"]),
            environment=environments[0],
        )
        return cls(header, tuple(_record(shard) for shard in document["shards"]), environments)


def _record(shard: Mapping[str, Any]) -> ShardRecord:
    return ShardRecord(**{name: shard[name] for name in ShardRecord.__dataclass_fields__})
