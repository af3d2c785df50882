"""One store of the shards that several workers wrote: each has an unfinished store of its own, its part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.store.manifest import MANIFEST_NAME, PARTIAL_NAME, Manifest, ShardRecord
from cmlm_kd.store.writer import StoreWriter, check_same
from cmlm_kd.system.aside import parts_of
from cmlm_kd.system.shares import Share

_MOST_NAMED = 5


def part_of(output: Path, share: Share) -> Path:
    """Return where a worker writes its part of a store unless it is told another place."""
    return parts_of(output) / f"{share.index}-of-{share.count}"


def merge_parts(parts: Sequence[Path], output: Path) -> Manifest:
    """Copy the shards of all parts into one store, and return its manifest.

    Where all workers had the same environment, the store is byte for byte what one worker would have written.
    What an interrupted merge has copied is not copied again.

    Args:
        parts: what ``cmlm-kd dump --shard`` wrote, in any order. A shard may be in several of them if its
            bytes are the same.
        output: the store's directory, new, empty, or an unfinished store of the same dump.

    Raises:
        UserError: a part is no store, or of another dump than the first; a shard is in none of them, damaged,
            or in two with different bytes; the output holds something else, or cannot be written.
    """
    manifests = {part: _manifest_of(part) for part in parts}
    first, *others = manifests
    for other in others:
        check_same(
            other,
            manifests[other].header,
            manifests[first].header,
            f"{first} has",
            "merge parts of one dump",
        )
    sources = _sources(manifests)
    _check_complete(manifests[first], sources)
    with StoreWriter.create_or_resume(output, manifests[first].header) as writer:
        for plan in writer.pending_shards():
            part, record = sources[plan.file]
            writer.copy_shard(plan, record, part)
        # In the order of the shards, so that the manifest does not depend on that of the parts.
        ordered = dict.fromkeys(sources[plan.file][0] for plan in manifests[first].header.plan())
        writer.note_environments([each for part in ordered for each in manifests[part].environments])
        return writer.finish()


def _manifest_of(part: Path) -> Manifest:
    for name in (PARTIAL_NAME, MANIFEST_NAME):
        if (part / name).is_file():
            return Manifest.read(part / name)
    raise UserError(
        f"store: {part} holds no part of a store (no {PARTIAL_NAME}); give the directories that "
        "'cmlm-kd dump --shard' wrote"
    )


def _sources(manifests: dict[Path, Manifest]) -> dict[str, tuple[Path, ShardRecord]]:
    """Return the part that each shard is taken from, by the shard's file.

    Raises:
        UserError: two parts have different shards of one name.
    """
    found: dict[str, tuple[Path, ShardRecord]] = {}
    for part, manifest in manifests.items():
        for record in manifest.shards:
            other, known = found.setdefault(record.file, (part, record))
            if known != record:
                raise UserError(
                    f"store: {part / record.file} and {other / record.file} are the same shard with other "
                    "contents; delete the part that is wrong and dump it again"
                )
    return found


def _check_complete(manifest: Manifest, sources: dict[str, tuple[Path, ShardRecord]]) -> None:
    plans = manifest.header.plan()
    missing = [str(plan.index) for plan in plans if plan.file not in sources]
    if missing:
        more = ", ..." if len(missing) > _MOST_NAMED else ""
        raise UserError(
            f"store: {len(missing)} of {len(plans)} shards are in none of the parts "
            f"({', '.join(missing[:_MOST_NAMED])}{more}); name all parts, or run the 'cmlm-kd dump --shard' "
            "that stopped again: it goes on where it was"
        )
