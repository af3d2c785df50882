"""A worker's share of the shards, and what numbers the workers."""

import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.system.shares import Share, local_rank


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_shard_is_one_worker_s(count):
    shares = [Share.parse(f"{index}/{count}") for index in range(1, count + 1)]
    for shard in range(20):
        assert [share.index for share in shares if share.holds(shard)] == [shard % count + 1]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "", "a/b", "-1/2", "1/2/3", "1.5/2", "ranks"])
def test_what_names_no_share(text):
    with pytest.raises(UserError, match=r"--shard is .*(must be from 1/2 to 2/2|give I/N, such as 1/4)"):
        Share.parse(text)


def test_a_launcher_numbers_its_processes():
    assert Share.parse("rank", {"RANK": "2", "WORLD_SIZE": "3"}) == Share(3, 3)
    assert Share.parse("rank", {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) == Share(1, 4)
    with pytest.raises(
        UserError, match=r"nothing has numbered this process: RANK and WORLD_SIZE \(torchrun\)"
    ):
        Share.parse("rank", {"RANK": "2"})


def test_the_place_on_a_machine():
    assert local_rank({}) == 0
    assert local_rank({"LOCAL_RANK": "3", "SLURM_LOCALID": "1"}) == 3
    assert local_rank({"SLURM_LOCALID": "1"}) == 1
