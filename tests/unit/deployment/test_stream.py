"""Lines translated as they come: what is refused does not take those before it along."""

import io

import pytest
from toy_translator import Toy

from cmlm_kd.api.translator import Decoding
from cmlm_kd.deployment.loaded import LoadedTranslator
from cmlm_kd.deployment.stream import translated_lines
from cmlm_kd.errors import UserError

LONG = "a " * 10


def answered(data, message):
    """Translate a stream that is refused; return what was answered before."""
    found = []
    with pytest.raises(UserError, match=message):
        for line in translated_lines(LoadedTranslator(Toy("well")), io.BytesIO(data), Decoding()):
            found.append(line)
    return found


def test_lines_before_one_that_is_refused_are_answered_though_they_came_with_it():
    text = f"eins\n\nzwei\n{LONG}\ndrei\n".encode()
    assert answered(text, "line 4: the text is longer than the 9 tokens") == ["EINS", "", "ZWEI"]
    assert answered(b"eins\nzwei\n\xff\ndrei\n", r"line 3: byte 1 \(0xff\) is not UTF-8") == ["EINS", "ZWEI"]
    assert answered(b"\xff\n", "line 1: byte 1") == []
    assert answered(f"{LONG}\n".encode(), "line 1: the text is longer") == []


@pytest.mark.parametrize("unseen", ["\u200b", "\x00\x07", "\ufeff \u00ad", " \t"])
def test_what_nobody_sees_is_empty_and_not_too_long(unseen):
    stream = io.BytesIO(f"eins\n{unseen}\nzwei".encode())
    assert list(translated_lines(LoadedTranslator(Toy("well")), stream, Decoding())) == ["EINS", "", "ZWEI"]
