"""A dump by several workers: ``--shard I/N``, ``cmlm-kd merge``."""

import pytest
from tiny_dump import contents, dump, small, write_road

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.teachers.cover_masks import Dumper


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    return write_road(tmp_path_factory.mktemp("road"))


@pytest.fixture(scope="module")
def whole(road):
    """The files of one worker's store."""
    assert dump(road, road / "whole", *small()) == 0
    return contents(road / "whole")


def merge(output, *parts):
    return main([str(word) for word in ("merge", *parts, "--output", output)])


class Killed(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


def counted(monkeypatch, most=100):
    """Return a list that grows with each shard that is computed; the one after ``most`` is a kill."""
    whole, calls = Dumper.shard, []

    def shard(self, *more):
        if len(calls) == most:
            raise Killed
        calls.append(more)
        return whole(self, *more)

    monkeypatch.setattr(Dumper, "shard", shard)
    return calls


def test_workers_write_what_one_writes(road, whole, tmp_path, capsys, monkeypatch):
    store, workers = tmp_path / "store", 3
    for worker in range(1, workers + 1):
        monkeypatch.setenv("RANK", str(worker - 1))  # as torchrun does
        monkeypatch.setenv("WORLD_SIZE", str(workers))
        share = f"{worker}/{workers}" if worker == 1 else "rank"
        assert dump(road, store, *small("--shard", share)) == 0
    assert not store.exists()
    last = f"{store}.parts/{workers}-of-{workers}"
    assert f"{last}: shards 3/3 are written (2 of 6)" in capsys.readouterr().out
    assert merge(store) == 0
    assert f"{store}: 26 pairs" in capsys.readouterr().out
    assert contents(store) == whole
    assert [entry.name for entry in tmp_path.iterdir() if "store" in entry.name] == ["store"]
    assert merge(store) == 0  # as a scheduler may do once more


def test_a_killed_worker_costs_its_own_unfinished_shards(road, whole, tmp_path):
    one, two = (
        ("--shard", "1/2", "--parts", tmp_path / "one"),
        ("--shard", "2/2", "--parts", tmp_path / "two"),
    )
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        counted(patched, most=1)
        dump(road, store, *small(*one))
    assert dump(road, store, *small(*two)) == 0
    assert main(["merge", str(tmp_path / "one"), str(tmp_path / "two"), "--output", str(store)]) == 2
    assert not store.exists()
    with pytest.MonkeyPatch.context() as patched:
        calls = counted(patched)
        assert dump(road, store, *small(*one)) == 0
    assert len(calls) == 2
    assert merge(store, tmp_path / "two", tmp_path / "one") == 0
    assert contents(store) == whole
    assert (tmp_path / "one").exists()


def test_a_part_is_no_store_and_the_plain_command_completes_it(road, whole, tmp_path):
    part = tmp_path / "store"
    assert dump(road, "unused", *small("--shard", "1/2", "--parts", part)) == 0
    with pytest.raises(UserError, match=r"unfinished; .*or 'cmlm-kd merge' the parts of several workers"):
        SoftTargetStore.open(part)
    assert dump(road, part, *small()) == 0
    assert contents(part) == whole


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--shard", "3/2"), "--shard is 3/2; it must be from 1/2 to 2/2"),
        (("--shard", "half"), "--shard is 'half'; give I/N, such as 1/4"),
        (("--parts", "x"), "--parts is where --shard I/N writes; give both, or neither"),
    ],
)
def test_shares_that_are_none(road, tmp_path, capsys, flags, message):
    assert dump(road, tmp_path / "store", *flags) == 2
    assert capsys.readouterr().err.startswith(f"cmlm-kd dump: {message}")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_merge(tmp_path, capsys):
    assert merge(tmp_path / "store") == 2
    assert f"{tmp_path / 'store.parts'} has no parts of a store; name" in capsys.readouterr().err
