"""What a store says on a whole, beside the references."""

import numpy as np
import pytest

from cmlm_kd.fairseq_files.databin import Databin, write_databin
from cmlm_kd.store import ShardRows, SoftTargetStore, StoreHeader, StoreWriter, teacher_statistics
from cmlm_kd.store.format import LOWEST_LOGIT
from cmlm_kd.store.statistics import TeacherStatistics

PROBS = np.array([[0.5, 0.25], [0.75, 0.125], [1 / 8, 1 / 8], [0.5, 0.0]])  # (tokens, k)
IDS = np.array([[7, 8], [7, 8], [5, 6], [9, 4]])
REFERENCES = [7, 8, 9, 9]


def write(folder, lengths=(3, 0, 1)):
    """Write a store whose second of three sentences has no teacher row."""
    header = StoreHeader(
        rows=3, k=2, tail_temperatures=(4.0, 1.0), vocabulary_size=10, shard_rows=2,
        **{f"{name}_hash": "0" * 64 for name in ("dictionary", "corpus", "teacher")},
    )  # fmt: skip
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(PROBS) + 3, LOWEST_LOGIT).astype(np.float16)  # any constant
        tail = (np.log(1 - PROBS.sum(1)) + 3).astype(np.float16)
    starts = np.cumsum([0, *lengths])
    with StoreWriter.create_or_resume(folder / "store", header) as writer:
        for plan in writer.pending_shards():
            rows = slice(plan.first_row, plan.first_row + plan.rows)
            tokens = slice(starts[rows.start], starts[rows.stop])
            both = np.stack([np.zeros_like(tail), tail], 1)[tokens]
            writer.write_shard(plan, ShardRows(np.array(lengths[rows]), IDS[tokens], logits[tokens], both))
        writer.finish()
    sentences = [np.array(REFERENCES[:3]), np.array([4, 4]), np.array(REFERENCES[3:])]
    write_databin(folder / "target", sentences, 10)
    return SoftTargetStore.open(folder / "store"), Databin.open(folder / "target")


def test_means_over_tokens_with_a_teacher_row(tmp_path):
    said = teacher_statistics(*write(tmp_path))
    assert (said.best, said.any_of_k, said.of_reference_alone) == (0.5, 0.75, 0.25)
    parts = [[0.5, 0.25, 0.25], [0.75, 0.125, 0.125], [1 / 8, 1 / 8, 3 / 4], [0.5, 0.5]]
    assert (
        said.mass_of_k == pytest.approx((0.75 + 0.875 + 0.25 + 0.5) / 4, rel=2e-3) and said.says_little_of_k
    )
    entropy = np.mean([-sum(p * np.log2(p) for p in row) for row in parts])
    assert said.entropy == pytest.approx(entropy, rel=2e-3)
    # The third reference is none of the two entries: it costs what all the others cost together.
    assert said.reference_bits == pytest.approx((1 + 3 - np.log2(0.75) + 1) / 4, rel=2e-3)


@pytest.mark.parametrize(
    ("here", "there", "by_heart"),
    [((0.98, 0.1), (0.7, 1.5), True), ((0.72, 1.3), (0.7, 1.5), False), ((0.6, 0.1), (0.7, 1.5), False)],
)
def test_who_knows_a_text_by_heart(here, there, by_heart):
    first, second = (TeacherStatistics(best, 1, 0, bits, 1, 0) for best, bits in (here, there))
    assert first.knows_by_heart(second) is by_heart
    assert not first.says_little_of_k
