"""A translator in memory, without a model."""

import pytest
from toy_translator import Toy

from cmlm_kd.deployment.loaded import LoadedTranslator
from cmlm_kd.errors import UserError


@pytest.mark.parametrize("long_texts", ["refuse", "split"])
@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\ufeff \u200b"])
def test_a_text_that_nobody_sees_is_translated_by_nothing(nothing, long_texts):
    found = LoadedTranslator(Toy("well")).translate_with_scores(["eins", nothing], long_texts=long_texts)
    assert [one.text for one in found] == ["EINS", ""]


def test_a_sentence_that_nobody_sees_is_left_out():
    text = f"{'a ' * 7}b. {'a ' * 7}b. \u200b"
    model = LoadedTranslator(Toy("well"))
    found = model.translate_with_scores([text], long_texts="split")
    assert found[0].text == f"{'A ' * 7}B. {'A ' * 7}B."
    with pytest.raises(UserError, match="text 1 is longer than the 9 tokens"):
        model.translate_with_scores([text])
