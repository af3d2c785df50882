"""A dump that is interrupted and goes on."""

import resource

import pytest
from tiny_dump import contents, dump, small, write_road

import cmlm_kd.teachers.dump
from cmlm_kd.errors import UserError
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.teachers.cover_masks import Dumper


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return write_road(tmp_path_factory.mktemp("road"))


class Interrupted(BaseException):
    """What Ctrl-C raises, as far as the dump can tell."""


def stop_after(monkeypatch, shards, then):
    """Let ``then`` happen in place of the shard after so many."""
    whole, calls = Dumper.shard, []

    def shard(self, *arguments):
        calls.append(arguments)
        if len(calls) > shards:
            then()
        return whole(self, *arguments)

    monkeypatch.setattr(Dumper, "shard", shard)
    return calls


def interrupt():
    raise Interrupted


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_an_interrupted_dump_ends_as_if_it_had_not_been(road, tmp_path, monkeypatch, shards):
    assert dump(road, tmp_path / "whole", *small()) == 0
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        stop_after(patched, shards, interrupt)
        dump(road, tmp_path / "store", *small())
    with pytest.raises(UserError, match="unfinished"):
        SoftTargetStore.open(tmp_path / "store")
    with monkeypatch.context() as patched:
        calls = stop_after(patched, 100, interrupt)
        assert dump(road, tmp_path / "store", *small()) == 0
        assert len(calls) == 6 - shards  # what was there is not computed again
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_finished_dump_is_left_alone(road, tmp_path, monkeypatch):
    assert dump(road, tmp_path / "store", *small()) == 0
    before = contents(tmp_path / "store")
    monkeypatch.setattr(cmlm_kd.teachers.dump, "Dumper", None)
    assert dump(road, tmp_path / "store", *small()) == 0
    assert contents(tmp_path / "store") == before


def test_a_finished_dump_is_mended(road, tmp_path, monkeypatch, caplog):
    assert dump(road, tmp_path / "store", *small()) == 0
    before = contents(tmp_path / "store")
    flipped, deleted, *_ = sorted((tmp_path / "store").glob("*.arrow"))
    flipped.write_bytes(before[flipped.name][:-200] + bytes(200))
    deleted.unlink()
    calls = stop_after(monkeypatch, 100, interrupt)
    assert dump(road, tmp_path / "store", *small()) == 0
    assert len(calls) == 2 and contents(tmp_path / "store") == before
    assert f"{flipped} is damaged" in caplog.text and f"{deleted} is missing" in caplog.text


def test_a_full_disk_costs_nothing_that_was_written(road, tmp_path, monkeypatch, capsys):
    assert dump(road, tmp_path / "whole", *small()) == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with monkeypatch.context() as patched:
            stop_after(patched, 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1])))
            assert dump(road, tmp_path / "store", *small()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("cmlm-kd dump: store: no space left") and "free space and run" in message
    assert len(list((tmp_path / "store").glob("*.arrow"))) == 2
    assert dump(road, tmp_path / "store", *small()) == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("flags", "teacher", "named"),
    [
        (small("--topk", 2), "teacher1", "has k 3, this dump has 2"),
        (small(), "teacher2", "has teacher_hash"),
        (small("--stride", 5), "teacher1", "has settings.stride 7, this dump has 5"),
        (small("--tail-temperatures", 2), "teacher1", "tail_temperatures [1.0, 10.0], this dump has [2.0]"),
        (small("--bf16-autocast"), "teacher1", "settings.precision float32"),
    ],
)
def test_another_dump_does_not_go_on_with_it(road, tmp_path, monkeypatch, capsys, flags, teacher, named):
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        stop_after(patched, 1, interrupt)
        dump(road, tmp_path / "store", *small())
    before = contents(tmp_path / "store")
    assert dump(road, tmp_path / "store", *flags, teacher=teacher) == 2
    assert named in capsys.readouterr().err
    assert contents(tmp_path / "store") == before
