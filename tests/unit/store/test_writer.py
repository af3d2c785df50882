"""Writing a store: interruptions, foreign folders, full disks, and what a producer may not write."""

import errno
import json
import logging
import os
import shutil
from dataclasses import replace

import pytest
from tiny_store import (
    LENGTHS,
    VOCABULARY,
    contents,
    flip_bit,
    make_header,
    make_rows,
    write_pending,
)

from cmlm_kd.errors import UserError
from cmlm_kd.store import (
    SoftTargetStore,
    StoreWriter,
    verify_store,
)
from cmlm_kd.system import aside

# Interruption


def test_resumed_store_is_byte_identical(tmp_path, store_path):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    (path / "shard-00001-of-00003.arrow.tmp").write_bytes(b"half a shard")  # what a killed process leaves
    with pytest.raises(UserError, match="unfinished; run the same 'cmlm-kd dump' again"):
        SoftTargetStore.open(path)
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


def test_shard_without_its_note_in_the_manifest_is_written_again(tmp_path, store_path):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    shutil.copy(store_path / "shard-00001-of-00003.arrow", path)  # renamed, but killed before it was noted
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


def test_damaged_shard_of_an_unfinished_store_is_written_again(tmp_path, store_path, caplog):
    path = tmp_path / "resumed"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=2)
    flip_bit(path / "shard-00000-of-00003.arrow", -200)
    with caplog.at_level(logging.WARNING), StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [0, 2]
        write_pending(writer)
        writer.finish()
    assert "is damaged and will be written again" in caplog.text
    assert contents(path) == contents(store_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("k", 2),
        ("corpus_hash", "f" * 64),
        ("shard_rows", 5),
        ("rows", 10),
        ("settings", {"stride": 9, "precision": "float32"}),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_resume_with_another_header_is_refused(tmp_path, field, value, finished):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=None if finished else 1)
        if finished:
            writer.finish()
    before = contents(path)
    name = "settings.stride" if field == "settings" else field
    old, new = make_header().identity()[name], make_header(**{field: value}).identity()[name]
    with pytest.raises(UserError, match=rf"has {name} {old}, this dump has {new}"):
        StoreWriter.create_or_resume(path, make_header(**{field: value}))
    assert contents(path) == before


def test_another_environment_is_noted_and_warned_of(tmp_path, caplog):
    path = tmp_path / "store"
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        write_pending(writer, limit=1)
    with (
        caplog.at_level(logging.WARNING),
        StoreWriter.create_or_resume(path, make_header(environment={"threads": 2})) as writer,
    ):
        write_pending(writer)
        manifest = writer.finish()
    assert "threads 1 -> 2" in caplog.text
    assert manifest.environments == ({"threads": 1}, {"threads": 2})


def test_complete_store_is_left_alone(store_path):
    before = contents(store_path)
    with StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert writer.complete and writer.pending_shards() == []
        assert writer.finish().tokens == 45
    assert contents(store_path) == before


@pytest.mark.parametrize("damage", ["flipped bit", "missing", "truncated"])
def test_damaged_shard_of_a_complete_store_is_written_again(tmp_path, store_path, caplog, damage):
    before, shard = contents(store_path), store_path / "shard-00001-of-00003.arrow"
    if damage == "flipped bit":
        flip_bit(shard, -200)
    elif damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(before[shard.name][:-8])
    with caplog.at_level(logging.WARNING), StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1] and not writer.complete
        with pytest.raises(UserError, match="unfinished"):
            SoftTargetStore.open(store_path)
        write_pending(writer)
        writer.finish()
    state = "missing" if damage == "missing" else "damaged"
    assert f"{shard} is {state} and will be written again" in caplog.text
    assert contents(store_path) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_row", 5),
        ("rows", 3),
        ("rows_without_teacher", 2),
        ("tokens", 19),
        ("size", 100),
        ("sha256", "0" * 64),
        ("file", "shard-00000-of-00003.arrow"),
        ("file", "../elsewhere"),
    ],
)
def test_a_wrong_record_of_a_shard_is_mended_by_the_next_dump(store_path, caplog, field, value):
    """What 'cmlm-kd verify' refuses with the advice to dump again."""
    before = contents(store_path)
    document = json.loads(before["manifest.json"])
    document["shards"][1][field] = value
    (store_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="run 'cmlm-kd dump' again"):
        verify_store(store_path)
    with StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1] and not writer.complete
        write_pending(writer)
        writer.finish()
    assert "and will be written again" in caplog.text
    assert contents(store_path) == before


def test_records_in_another_order_are_mended_without_any_work(store_path):
    before = contents(store_path)
    document = json.loads(before["manifest.json"])
    document["shards"].append(document["shards"].pop(0))
    (store_path / "manifest.json").write_text(json.dumps(document))
    with StoreWriter.create_or_resume(store_path, make_header()) as writer:
        assert not writer.pending_shards() and not writer.complete
        writer.finish()
    assert contents(store_path) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["settings"].update(stride=8),
        lambda document: document["environments"].append({"torch": "0"}),
        lambda document: document.update(teacher_hash="0" * 64),
    ],
)
def test_what_no_shard_can_tell_has_a_checksum(store_path, change):
    """The records of shards are compared with their files; this is all that there is of the rest."""
    document = json.loads((store_path / "manifest.json").read_text())
    change(document)
    (store_path / "manifest.json").write_text(json.dumps(document))
    for read in (verify_store, lambda path: StoreWriter.create_or_resume(path, make_header())):
        with pytest.raises(UserError, match=r"manifest_sha256 is .*: something in it was changed.; put back"):
            read(store_path)


def test_a_manifest_of_an_earlier_release_has_no_checksum(store_path):
    document = json.loads((store_path / "manifest.json").read_text())
    del document["manifest_sha256"]
    (store_path / "manifest.json").write_text(json.dumps(document))
    assert verify_store(store_path).tokens == 45


@pytest.mark.parametrize(("field", "value"), [("size", "9"), ("file", 5), ("tokens", None), ("rows", True)])
def test_a_record_of_other_types(store_path, field, value):
    document = json.loads((store_path / "manifest.json").read_text())
    document["shards"][1][field] = value
    (store_path / "manifest.json").write_text(json.dumps(document))
    message = (
        f"manifest.json is damaged .shards.1.{field} is .*put back a copy of it, or delete the store and"
    )
    for read in (verify_store, lambda path: StoreWriter.create_or_resume(path, make_header())):
        with pytest.raises(UserError, match=message):
            read(store_path)


def test_two_writers_exclude_each_other(tmp_path):
    first = StoreWriter.create_or_resume(tmp_path / "store", make_header())
    with pytest.raises(UserError, match="another process is writing"):
        StoreWriter.create_or_resume(tmp_path / "store", make_header())
    first.close()
    StoreWriter.create_or_resume(tmp_path / "store", make_header()).close()


def test_foreign_directory_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="isn't empty and holds no store"):
        StoreWriter.create_or_resume(tmp_path, make_header())
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_path_that_is_a_file(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match="can't write"):
        StoreWriter.create_or_resume(tmp_path / "store", make_header())


def test_disk_full_keeps_complete_shards_and_can_be_resumed(tmp_path, store_path, monkeypatch):
    path = tmp_path / "full"
    real_fsync = os.fsync

    def disk_full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".shard-00001-of-00003.arrow.partial"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(descriptor)

    with StoreWriter.create_or_resume(path, make_header()) as writer:
        monkeypatch.setattr(aside.os, "fsync", disk_full)
        with pytest.raises(
            UserError,
            match=r"no space left for .*full: about \d+\.\d kB more needed.*run the same command again",
        ):
            write_pending(writer)
        monkeypatch.undo()
    assert sorted(contents(path)) == ["manifest.partial.json", "shard-00000-of-00003.arrow"]
    with StoreWriter.create_or_resume(path, make_header()) as writer:
        assert [plan.index for plan in writer.pending_shards()] == [1, 2]
        write_pending(writer)
        writer.finish()
    assert contents(path) == contents(store_path)


# What the producer may not write


@pytest.mark.parametrize("name", ["lengths", "ids", "logits", "tail"])
def test_rows_that_do_not_fit_the_plan(tmp_path, name):
    with StoreWriter.create_or_resume(tmp_path / "store", make_header()) as writer:
        plan = writer.pending_shards()[0]
        rows = make_rows(writer.header, 0, LENGTHS[:4])
        with pytest.raises(ValueError, match=name):
            writer.write_shard(plan, replace(rows, **{name: getattr(rows, name)[1:]}))


def test_rows_with_ids_outside_the_vocabulary(tmp_path):
    with StoreWriter.create_or_resume(tmp_path / "store", make_header()) as writer:
        rows = make_rows(writer.header, 0, LENGTHS[:4])
        rows.ids[3, 1] = VOCABULARY
        with pytest.raises(ValueError, match="outside the vocabulary of 50"):
            writer.write_shard(writer.pending_shards()[0], rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k is 0; it must be from 1 to"),
        ({"k": 51}, "k is 51; it must be from 1 to the vocabulary's 50"),
        ({"tail_temperatures": (0.0,)}, "tail temperature 0.0 must be positive"),
        ({"tail_temperatures": ()}, "no tail temperature"),
        ({"rows": 0}, "no sentence"),
        ({"shard_rows": 0}, "0 sentences a shard"),
    ],
)
def test_header_ranges(changes, message):
    with pytest.raises(UserError, match=message):
        make_header(**changes)
