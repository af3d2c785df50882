"""Write a store shard by shard, so that an interruption costs at most one shard."""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from cmlm_kd.errors import UserError
from cmlm_kd.store.files import TEMPORARY_SUFFIXES, explained_os_errors, lock_directory, write_whole
from cmlm_kd.store.format import ShardRows, encode_shard, open_shard
from cmlm_kd.store.manifest import (
    MANIFEST_NAME,
    PARTIAL_NAME,
    Manifest,
    SettingValue,
    ShardPlan,
    ShardRecord,
    StoreHeader,
)
from cmlm_kd.system.aside import release
from cmlm_kd.system.files import check_new_directory, file_sha256

logger = logging.getLogger(__name__)


class StoreWriter:
    """Writes the shards of one store; made by :meth:`create_or_resume`.

    A shard is written aside, flushed to the disk and renamed, then noted in ``manifest.partial.json``; the
    last step writes ``manifest.json``. So whatever has its final name is complete, and a reader never takes
    an unfinished store for a finished one. One process at a time holds the directory's lock.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path = path
        self.header = header
        self._done: dict[int, ShardRecord] = {}
        self._environments: tuple[Mapping[str, SettingValue], ...] = (header.environment,)
        self._finished: Manifest | None = None
        self._unlock = weakref.finalize(self, release, lock_directory(path))

    @classmethod
    def create_or_resume(cls, path: Path | str, header: StoreHeader) -> StoreWriter:
        """Start a store in a new or empty directory, or go on with an unfinished one.

        Shards that are missing or whose bytes have changed become pending again, those of a complete store
        too. If all of them are whole, nothing is pending and :meth:`finish` returns the manifest that is
        there.

        Raises:
            UserError: the directory holds something else or a store with another header (the first field that
                differs is named with both values), another process is writing it, or it can't be written.
        """
        path = Path(path)
        with explained_os_errors(path, "a new store"):
            path.mkdir(parents=True, exist_ok=True)
            writer = cls(path, header)
            try:
                writer._start()
            except BaseException:
                writer.close()
                raise
        return writer

    @property
    def complete(self) -> bool:
        """True once :meth:`finish` has been called, now or by an earlier run."""
        return self._finished is not None

    @property
    def manifest(self) -> Manifest:
        """What the store holds so far."""
        return Manifest(self.header, tuple(self._done[i] for i in sorted(self._done)), self._environments)

    def pending_shards(self) -> list[ShardPlan]:
        """Return the shards that are still to be written, in corpus order."""
        return [plan for plan in self.header.plan() if plan.index not in self._done]

    def write_shard(self, plan: ShardPlan, rows: ShardRows) -> ShardRecord:
        """Write one pending shard; when this returns it is on the disk.

        Raises:
            ValueError: rows that don't fit the plan.
            UserError: disk full or not writable; the shards written before are intact and a new run goes on
                there.
        """
        if plan.index in self._done:
            raise ValueError(f"{plan.file} is already written")
        data = encode_shard(self.header, plan, rows)
        record = ShardRecord(
            plan.file,
            plan.first_row,
            plan.rows,
            int((rows.lengths == 0).sum()),
            int(rows.lengths.sum()),
            data.size,
            hashlib.sha256(data).hexdigest(),
        )
        self._keep(plan, record, data)
        return record

    def copy_shard(self, plan: ShardPlan, record: ShardRecord, part: Path) -> None:
        """Copy one pending shard out of another store of the same header.

        Args:
            plan: which.
            record: what that store's manifest says of it.
            part: that store's directory.

        Raises:
            UserError: it is not there, or not what is said of it; otherwise as :meth:`write_shard`.
        """
        source = part / plan.file
        problem = _problem(source, Manifest(self.header, (record,), ()), plan, record)
        if problem:
            raise UserError(
                f"store: shard {source} is {problem}; run the 'cmlm-kd dump --shard' that wrote {part} "
                "again, it mends what is damaged"
            )
        self._keep(plan, record, source.read_bytes())

    def _keep(self, plan: ShardPlan, record: ShardRecord, data: bytes | pa.Buffer) -> None:
        with explained_os_errors(self.path, self._space_needed(record.size)):
            write_whole(self.path / plan.file, data)
            self._done[plan.index] = record
            self._write_manifest(PARTIAL_NAME)

    def note_environments(self, environments: Sequence[Mapping[str, SettingValue]]) -> None:
        """Have the manifest name these environments, each once, in place of those that it named before."""
        self._environments = tuple(
            each for place, each in enumerate(environments) if each not in environments[:place]
        )

    def finish(self) -> Manifest:
        """Declare the store complete and return its manifest.

        Raises:
            ValueError: shards are still pending.
        """
        if self._finished is None:
            if pending := self.pending_shards():
                raise ValueError(f"{len(pending)} shards are still pending")
            with explained_os_errors(self.path, "the manifest"):
                self._finished = self._write_manifest(MANIFEST_NAME)
                (self.path / PARTIAL_NAME).unlink()
        self.close()
        return self._finished

    def close(self) -> None:
        """Release the directory; an unfinished store can be resumed."""
        self._unlock()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> None:
        """Find out what is there, and note the header before the first shard."""
        for name in (MANIFEST_NAME, PARTIAL_NAME):
            if (self.path / name).exists():
                return self._resume(Manifest.read(self.path / name), finished=name == MANIFEST_NAME)
        check_new_directory(
            self.path,
            "isn't empty and holds no store",
            "give a new or empty directory",
            owner="store: ",
            in_the_way=lambda file: file.suffix not in TEMPORARY_SUFFIXES,
        )
        self._write_manifest(PARTIAL_NAME)
        return None

    def _resume(self, found: Manifest, finished: bool) -> None:
        """Take over the complete shards of ``found``; those whose bytes have changed are written again."""
        remedy = "give another directory, or delete that one to start afresh"
        check_same(self.path, found.header, self.header, "this dump has", remedy)
        for suffix in TEMPORARY_SUFFIXES:
            for stale in self.path.glob(f"*{suffix}"):
                stale.unlink()
        plans = {plan.file: plan for plan in self.header.plan()}
        for record in found.shards:
            plan = plans.get(record.file)
            problem = _problem(self.path / record.file, found, plan, record)
            if plan is not None and not problem:
                self._done[plan.index] = record
            else:
                logger.warning(
                    "store: shard %s is %s and will be written again", self.path / record.file, problem
                )
        self._environments = found.environments
        if (
            finished
            and tuple(self._done[index] for index in sorted(self._done)) == found.shards
            and (not self.pending_shards())
        ):
            self._finished = found
            (self.path / PARTIAL_NAME).unlink(missing_ok=True)
            return
        if finished:  # no more: no reader may take it for a whole one
            (self.path / MANIFEST_NAME).replace(self.path / PARTIAL_NAME)
        if self.header.environment not in found.environments:
            self._environments = (*found.environments, self.header.environment)
            _warn_environment(self.path, found, self.header)

    def _write_manifest(self, name: str) -> Manifest:
        manifest = self.manifest
        write_whole(self.path / name, manifest.to_json().encode())
        return manifest

    def _space_needed(self, size: int) -> str:
        """Say how many bytes the pending shards will take, judged by those known."""
        known = [record.size for record in self._done.values()] + [size]
        needed = sum(known) / len(known) * len(self.pending_shards())
        return f"about {needed / 1e6:,.1f} MB" if needed >= 1e6 else f"about {needed / 1e3:.1f} kB"


def _problem(path: Path, found: Manifest, plan: ShardPlan | None, record: ShardRecord) -> str:
    """Return in what way the shard of a file is not what the manifest says; empty if it is."""
    if plan is None:
        return "of another plan"
    checksum = file_sha256(path)
    if checksum != record.sha256:
        return "damaged" if checksum else "missing"
    try:
        open_shard(path, found, record)
    except UserError:
        return "not what the manifest says"
    return "" if (plan.first_row, plan.rows) == (record.first_row, record.rows) else "of another plan"


def check_same(path: Path, found: StoreHeader, wanted: StoreHeader, whose: str, remedy: str) -> None:
    """Refuse a store of something else.

    Args:
        path: its directory.
        found: what it says of itself.
        wanted: what it should say.
        whose: subject and verb of what it should say, in the message.
        remedy: what to do.

    Raises:
        UserError: naming the first field that differs, with both values.
    """
    on_disk, asked = found.identity(), wanted.identity()
    for name in [*asked, *on_disk]:
        if on_disk.get(name) != asked.get(name):
            raise UserError(
                f"store: {path} has {name} {on_disk.get(name)}, {whose} {asked.get(name)}; {remedy}"
            )


def _warn_environment(path: Path, found: Manifest, wanted: StoreHeader) -> None:
    before, now = dict(found.environments[-1]), dict(wanted.environment)
    changed = ", ".join(
        f"{name} {before.get(name)} -> {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )
    logger.warning(
        "store: %s is resumed in another environment (%s): it will be valid, but perhaps not byte for byte "
        "what one run would have written",
        path,
        changed,
    )
