"""Operations as FastBERT's paper and its README count them."""

import numpy as np
import pytest
from transformers import BertConfig, DistilBertConfig, ElectraConfig

from cmlm_kd.early_exit.flops import FlopCount
from cmlm_kd.errors import UserError

BASE = FlopCount()


def test_bert_base_as_in_the_readme():
    assert BASE.plain == 21_785_247_744
    assert FlopCount.of(BertConfig()) == BASE


@pytest.mark.parametrize(
    ("count", "printed"),
    [
        (BASE.attention, 603.0),
        (BASE.feed_forward, 1207.9),
        (BASE.layer, 1809.9),
        (BASE.classifier_attention, 16.8),
        (128 * BASE.classifier_dense, 4.2),  # the table counts this layer at every position
        (BASE.classifier_narrow + BASE.classifier_attention + 128 * BASE.classifier_dense, 46.1),
    ],
)
def test_table_1(count, printed):
    assert count / 1e6 == pytest.approx(printed, rel=0.002)


def test_table_1_prints_the_first_layer_of_the_classifier_cut_off_after_one_digit():
    assert int(BASE.classifier_narrow / 1e5) / 10 == 25.1


@pytest.mark.parametrize(("layers", "printed"), [(12, 21785), (6, 10872), (3, 5436)])
def test_encoders_of_table_2(layers, printed):
    """DistilBERT's rows are those of its layers alone."""
    count = BASE.plain if layers == 12 else layers * BASE.layer
    assert count / 1e6 == pytest.approx(printed, abs=0.5)


def test_leaving_at_once_is_the_largest_speedup_of_table_2():
    assert BASE.exits[0] / 1e6 == pytest.approx(1853, abs=1.0)
    assert BASE.speedup([1] + 11 * [0]) == pytest.approx(11.75, abs=0.005)


def test_a_histogram_against_a_loop():
    count = FlopCount(
        layers=3, hidden_size=8, intermediate_size=16, branch_size=4, embedding_size=8, length=5
    )
    left = [1] * 4 + [2] * 3 + [3] * 2
    total = sum(layer * (count.layer + count.classifier) for layer in left)
    assert count.mean([4, 3, 2]) == total / 9
    assert count.speedup(np.array([4, 3, 2])) == count.plain * 9 / total
    assert count.exits[-1] == count.plain + 2 * count.classifier


def test_other_encoders():
    assert FlopCount.of(DistilBertConfig()).plain == 6 * BASE.layer + BASE.classifier
    narrow = FlopCount.of(ElectraConfig(embedding_size=64, hidden_size=256, intermediate_size=1024))
    assert narrow.embeddings == 2 * 64 * 256 * 128 and BASE.embeddings == 0
    assert narrow.plain == narrow.embeddings + 12 * narrow.layer + narrow.classifier


@pytest.mark.parametrize("histogram", [[1, 2], [0] * 12, [-1] + [1] * 11])
def test_what_is_no_histogram(histogram):
    with pytest.raises(UserError, match="12 counts of 0 or more"):
        BASE.mean(histogram)
