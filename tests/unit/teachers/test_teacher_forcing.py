"""What is kept of a teacher's next tokens, and what is refused of them."""

import numpy as np
import pytest
import torch
from tiny_corpus import VOCABULARY, write_split

from cmlm_kd.api.next_tokens import NextTokens, NextTokenTeacher, Pairs
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store.format import LOWEST_LOGIT
from cmlm_kd.store.manifest import ShardPlan
from cmlm_kd.teachers.mean import MeanOfTeachers
from cmlm_kd.teachers.shards import DumpOptions
from cmlm_kd.teachers.teacher_forcing import TeacherForcingDumper, summarise_next_tokens


class Table(NextTokenTeacher):
    """Says of an entry what a table has in its row, and has nothing outside or a share of its mass."""

    kind = "table"

    def __init__(self, seed=0, outside=None, longest=99):
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        self.seed, self.outside, self.longest, self.seen = seed, outside, longest, []

    @property
    def name(self):
        return f"table {self.seed}"

    @property
    def hash(self):
        return f"{self.seed}" * 64

    def readable(self, pairs):
        return pairs.lengths[1] <= self.longest

    def next_tokens(self, pairs):
        self.seen.append(max(len(row) for row in (*pairs.sources, *pairs.targets)) * len(pairs.targets))
        logits = self.table[torch.from_numpy(np.concatenate(pairs.targets).astype(np.int64))]  # (N, V)
        if self.outside is None:
            return NextTokens(logits)
        outside = torch.full((len(logits),), self.outside).log()
        return NextTokens(logits.log_softmax(-1) + np.log(1 - self.outside), outside)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    data = write_split(tmp_path_factory.mktemp("data"), "train", 30, seed=4)
    return [Databin.open(data / f"train.de-en.{language}") for language in ("de", "en")]


def shard(teacher, sides, **options):
    dumper = TeacherForcingDumper(teacher, DumpOptions(topk=3, tail_temperatures=(1.0,), **options))
    return dumper.shard(*sides, ShardPlan(0, 2, 25, "shard"))


def test_batches_put_everything_in_its_place(sides):
    teacher = Table(longest=10)
    rows = shard(teacher, sides, max_tokens=40)
    assert len(teacher.seen) > 3 and max(teacher.seen) <= 40
    target, start = sides[1], 0
    for row, length in enumerate(rows.lengths, 2):
        assert length == (len(target[row]) if len(target[row]) <= 10 else 0)
        wanted = teacher.table[torch.from_numpy(target[row][:length].astype(np.int64))]  # (L, V)
        np.testing.assert_array_equal(rows.ids[start : start + length], wanted.topk(3).indices)
        start += length
    assert start == len(rows.ids) and (rows.lengths == 0).any()


def test_a_mean_with_mass_outside(sides):
    """Each member's mass counts by its weight, in the entries and outside of them."""
    members = [Table(1, outside=0.25), Table(2)]
    mean = MeanOfTeachers(members, (1.0, 3.0))
    pairs = Pairs([sides[0][0]], [sides[1][0]])
    said = mean.next_tokens(pairs)
    one, two = (member.next_tokens(pairs).logits.softmax(-1) for member in members)
    torch.testing.assert_close(said.logits.exp(), 0.25 * 0.75 * one + 0.75 * two)
    torch.testing.assert_close(said.outside.exp(), torch.full((len(one),), 0.0625))
    assert mean.weights == (0.25, 0.75) and mean.name == "0.25 x table 1 + 0.75 x table 2"
    assert mean.hash != MeanOfTeachers(members, (1.0, 2.0)).hash


def test_mass_outside_joins_the_tail():
    probs = torch.tensor([[0.5, 0.2, 0.0, 0.1, 0.0, 0.0]], dtype=torch.float64)
    said = NextTokens(probs.log(), torch.tensor([0.2], dtype=torch.float64).log())
    ids, top, tail = summarise_next_tokens(said, 2, (1.0, 2.0))
    assert ids.tolist() == [[0, 1]]
    torch.testing.assert_close(top.exp(), probs[:, :2])
    # Three entries without a mass of their own share what is outside.
    spread = 0.1**0.5 + 3 * (0.2 / 3) ** 0.5
    torch.testing.assert_close(tail.exp(), torch.tensor([[0.3, spread]], dtype=torch.float64))


def test_entries_without_mass_are_the_lowest_number(sides):
    teacher = Table(outside=0.5)
    teacher.table[:, 3:] = float("-inf")
    teacher.table[:, 1:3] = float("-inf")
    rows = shard(teacher, sides)
    assert (rows.logits[:, 1:] == LOWEST_LOGIT).all() and (rows.ids[:, 0] == 0).all()
    assert np.isfinite(rows.logits).all()
    np.testing.assert_allclose(rows.tail, np.log(0.5), atol=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_is_no_number_is_named(sides, value):
    teacher = Table()
    token = sides[1][7][1]
    teacher.table[token, 5] = value
    with pytest.raises(
        UserError, match=r"teacher table 0 gives (nan|inf|1e\+06) for token \d+ of pair \d+, no"
    ):
        shard(teacher, sides)


def test_a_position_without_any_mass_is_named(sides):
    teacher = Table()
    teacher.table[:] = float("-inf")
    with pytest.raises(UserError, match="teacher table 0 gives -inf for token 0 of pair"):
        shard(teacher, sides)
