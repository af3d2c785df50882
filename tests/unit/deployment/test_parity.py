"""What is said of a comparison."""

import pytest

from cmlm_kd.deployment.parity import Parity


@pytest.mark.parametrize(
    ("p_value", "said"), [(0.25, "30.00 after, p = 0.250 (x)"), (None, "30.00 after (x)")]
)
def test_bleu_is_said_with_its_test_where_there_is_one(p_value, said):
    parity = Parity(
        sentences=1,
        source="test",
        equal=1,
        beam=4,
        equal_by_search=1,
        largest_difference=0.0,
        bleu_before=30.0,
        bleu_after=30.0,
        bleu_signature="x",
        bleu_p_value=p_value,
    )
    assert said in parity.lines()[-1]
