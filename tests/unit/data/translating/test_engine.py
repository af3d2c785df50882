"""Batches by length, results in the order of the input."""

import pytest
from toy_translator import Toy

from cmlm_kd.api.translator import Decoding
from cmlm_kd.data.translating.engine import batches, translate_texts
from cmlm_kd.errors import UserError

TEXTS = ["c", "a b c d", "", "a b", "   ", "x y z", "e " * 12]


def best(found):
    return [row[0].text if row else None for row in found]


def test_results_come_in_the_order_of_the_input_whatever_the_batches():
    wanted = ["C", "A B C D", None, "A B", None, "X Y Z", None]
    for max_tokens in (1, 4, 5, 100):
        assert best(translate_texts(Toy(""), TEXTS, Decoding(), max_tokens=max_tokens)) == wanted


def test_batches_are_sorted_by_length_and_bounded_with_their_padding():
    toy = Toy("")
    translate_texts(toy, TEXTS, Decoding(), max_tokens=6)
    assert toy.batches == [["a b c d"], ["x y z", "a b"], ["c"]]  # 4; 2 * 3; 1
    sources = toy.encode(["a b c"] * 5)
    assert [len(batch) for batch in batches(sources, range(5), 6)] == [2, 2, 1]
    assert [len(batch) for batch in batches(sources, range(5), 2)] == [1] * 5


def test_what_nobody_sees_is_nothing():
    """Tokenizers leave nothing of it, and a model that reads nothing makes something up."""
    texts = ["\u200b", "\ufeff \x07", "\u200bа", "\u0301", "🤖"]
    assert best(translate_texts(Toy(""), texts, Decoding())) == [None, None, "\u200bА", "\u0301", "🤖"]


def test_every_text_is_reported_once():
    told = []
    translate_texts(Toy(""), TEXTS, Decoding(), max_tokens=4, report=told.append)
    assert sum(told) == len(TEXTS) and told[0] == 3  # two empty ones and one that is too long


def test_samples_depend_on_the_seed_alone():
    texts = [f"a b c d {number}" for number in range(20)]

    def drawn(seed, max_tokens=20):
        decoding = Decoding(sampling=True, n_best=2, seed=seed)
        return translate_texts(Toy(""), texts, decoding, max_tokens=max_tokens)

    assert drawn(1) == drawn(1) != drawn(2)
    rows = [tuple(entry.text.split()[0] for entry in row) for row in drawn(1)]
    assert len(set(rows)) > 5  # each batch has a seed of its own


def test_a_hypothesis_is_one_line():
    class Lines(Toy):
        def translate(self, sources, decoding):
            return [
                [entry._replace(text=" a\n\tb ") for entry in row]
                for row in super().translate(sources, decoding)
            ]

    assert best(translate_texts(Lines(""), ["x"], Decoding())) == ["a b"]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("nan", r"the model's score is nan for 'x y z': it gives no finite numbers; take an earlier"),
        ("short", r"the model gives 2 hypotheses for 'x y z', --n-best is 3; ask for fewer"),
    ],
)
def test_a_model_that_gives_too_little_is_refused(way, message):
    with pytest.raises(UserError, match=message):
        translate_texts(Toy(way), ["x y z"], Decoding(n_best=3))
