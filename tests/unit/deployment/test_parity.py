"""What is said of a comparison."""

import pytest
from toy_translator import Toy

from cmlm_kd.deployment.parity import Parity, Sentences, compare_translators, parity_sentences


class Surer(Toy):
    """Says the same with another score."""

    def translate(self, sources, decoding):
        return [
            [entry._replace(score=entry.score + 0.25) for entry in row]
            for row in super().translate(sources, decoding)
        ]


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


def test_a_part_of_a_file_is_called_so(tmp_path):
    for name, lines in (("few", 3), ("many", 201)):
        (tmp_path / f"{name}.de").write_text("".join(f"satz {number}\n\n" for number in range(lines)))
    few, many = (
        parity_sentences(tmp_path, ("de", "en"), tmp_path / f"{name}.de", None) for name in ("few", "many")
    )
    assert few.name == "few.de" and len(few.sources) == 3
    assert many.name == "many.de, the first 200 of 201 sentences" and len(many.sources) == 200


@pytest.mark.parametrize(("way", "difference"), [("well", 0.25), ("rest", 0.25), ("endless", 0.0)])
def test_scores_are_compared_of_what_was_not_cut_off(way, difference):
    sentences = Sentences("test", ["endlos", "eins zwei"], None)
    parity = compare_translators(Toy(way), Surer(way), sentences, 2, 9)
    assert (parity.equal, parity.equal_by_search) == (2, 2)
    assert parity.largest_difference == difference
    parity = compare_translators(Toy("endless"), Surer("rest"), Sentences("", ["endlos"], None), 2, 9)
    assert parity.largest_difference == 0.0
