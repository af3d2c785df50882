"""Parts of several workers, merged: the same bytes as one worker's, or one line that says why not."""

import shutil
from pathlib import Path

import pytest
from tiny_store import LENGTHS, contents, flip_bit, make_header, make_rows, write_store

from cmlm_kd.errors import UserError
from cmlm_kd.store import StoreWriter, merge_parts, verify_store
from cmlm_kd.store.merging import part_of
from cmlm_kd.system.shares import Share


def write_part(path, *shards, **changes):
    """Write some of the store's three shards, as a worker does."""
    with StoreWriter.create_or_resume(path, make_header(**changes)) as writer:
        for plan in writer.pending_shards():
            if plan.index in shards:
                lengths = LENGTHS[plan.first_row : plan.first_row + plan.rows]
                writer.write_shard(plan, make_rows(writer.header, plan.first_row, lengths))
    return path


@pytest.fixture
def parts(tmp_path):
    return [write_part(tmp_path / "one", 0, 2), write_part(tmp_path / "two", 1)]


@pytest.mark.parametrize("order", [1, -1])
def test_the_bytes_are_those_of_one_worker(parts, tmp_path, order):
    before = [contents(part) for part in parts]
    merge_parts(parts[::order], tmp_path / "store")
    assert contents(tmp_path / "store") == contents(write_store(tmp_path / "whole"))
    assert [contents(part) for part in parts] == before
    verify_store(tmp_path / "store")


def test_a_whole_store_is_a_part_and_a_worker_without_shards_is_one(tmp_path):
    whole, none = write_store(tmp_path / "whole"), write_part(tmp_path / "none")
    merge_parts([none, whole], tmp_path / "store")
    assert contents(tmp_path / "store") == contents(whole)


def test_environments_are_named_in_the_order_of_the_shards(tmp_path):
    two, one = (
        write_part(tmp_path / name, *shards, environment={"threads": threads})
        for name, shards, threads in (("two", [1], 2), ("one", [0, 2], 1))
    )
    for parts in ([one, two], [two, one]):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        manifest = merge_parts(parts, tmp_path / "store")
        assert [each["threads"] for each in manifest.environments] == [1, 2]


def test_an_interrupted_merge_goes_on(parts, tmp_path, monkeypatch):
    copied, copy = [], StoreWriter.copy_shard

    def stop(self, plan, *more):
        if plan.index == 2 and len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(plan.index)
        copy(self, plan, *more)

    monkeypatch.setattr(StoreWriter, "copy_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        merge_parts(parts, tmp_path / "store")
    copied.append("later")
    merge_parts(parts, tmp_path / "store")
    assert copied == [0, 1, "later", 2]
    assert contents(tmp_path / "store") == contents(write_store(tmp_path / "whole"))


def refused(parts, output, message):
    with pytest.raises(UserError, match=message) as error:
        merge_parts(parts, output)
    assert "\n" not in str(error.value)


def test_missing_shards(parts, tmp_path):
    refused(parts[:1], tmp_path / "store", r"1 of 3 shards are in none of the parts \(1\); name all parts")
    refused(parts[1:], tmp_path / "store", r"2 of 3 shards are in none of the parts \(0, 2\)")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"teacher_hash": "f" * 64}, "teacher_hash"),
        ({"corpus_hash": "f" * 64}, "corpus_hash"),
        ({"shard_rows": 5}, "shard_rows 5, .*one has 4"),
        ({"settings": {"stride": 3, "precision": "float32"}}, r"settings\.stride 3, .*one has 7"),
    ],
)
def test_a_part_of_another_dump(parts, tmp_path, changes, named):
    other = write_part(tmp_path / "other", 1, **changes)
    refused([parts[0], other], tmp_path / "store", f"{other} has {named}")
    assert not (tmp_path / "store").exists()


def test_a_shard_that_is_twice_there_must_be_the_same(parts, tmp_path):
    same = write_part(tmp_path / "same", 1, 2)
    merge_parts([*parts, same], tmp_path / "store")
    other = write_part(tmp_path / "other")
    with StoreWriter.create_or_resume(other, make_header()) as writer:
        plan = writer.pending_shards()[2]
        lengths = LENGTHS[plan.first_row : plan.first_row + plan.rows]
        writer.write_shard(plan, make_rows(writer.header, 1000, lengths))
    refused([*parts, other], tmp_path / "new", "are the same shard with other contents; delete the part")


def test_a_damaged_shard(parts, tmp_path):
    flip_bit(parts[1] / "shard-00001-of-00003.arrow", 400)
    refused(
        parts, tmp_path / "store", "shard-00001-of-00003.arrow is damaged; run the 'cmlm-kd dump --shard'"
    )
    write_part(parts[1], 1)  # as the same command does
    (parts[0] / "shard-00002-of-00003.arrow").unlink()
    refused(parts, tmp_path / "store", "shard-00002-of-00003.arrow is missing")
    write_part(parts[0], 2)
    merge_parts(parts, tmp_path / "store")
    assert contents(tmp_path / "store") == contents(write_store(tmp_path / "whole"))


def test_what_is_no_part(parts, tmp_path):
    (tmp_path / "text").mkdir()
    for wrong in (tmp_path / "text", tmp_path / "nothing"):
        refused([*parts, wrong], tmp_path / "store", f"{wrong} holds no part of a store")
    refused(parts, parts[0].parent, "isn't empty and holds no store")
    refused(parts, write_store(tmp_path / "old", k=2), "has k 2, this dump has 3")


def test_the_usual_places(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert part_of(Path("."), Share(2, 2)) == tmp_path / "here.parts" / "2-of-2"
    assert part_of(Path("../x"), Share(2, 2)) == Path("../x.parts/2-of-2")
    assert part_of(tmp_path / "store", Share(1, 2)) == tmp_path / "store.parts" / "1-of-2"
