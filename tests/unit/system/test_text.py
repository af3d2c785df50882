"""Parallel text is read strictly, and what is wrong is named."""

import errno
import gzip
import sys

import pytest

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import find_side, flush_output, iterate_pairs, read_lines, why_not_utf8


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        ("a\x0cb\x85c\u2028d\x1ce\rf\n".encode(), ["a\x0cb\x85c\u2028d\x1ce\rf"]),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_only_line_feeds_end_a_line(tmp_path, content, lines, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert read_lines(path) == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gut\nschön\n".encode("latin-1"), r"line 2: byte 4 \(0xf6\) is not UTF-8; convert .*iconv -t utf-8"),
        ("gut\n".encode("utf-16"), r"line 1: byte 1 \(0xff\) is not UTF-8"),
        (b"a\nb\xc3", r"line 2: byte 2 \(0xc3\) is not UTF-8"),
    ],
)
def test_other_encodings_are_refused(tmp_path, content, message):
    path = tmp_path / "text.de"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"text.de, {message}"):
        read_lines(path)


def test_halves_of_surrogate_pairs_are_no_text():
    assert why_not_utf8("") == why_not_utf8("schön \U0001f600 \x00") == ""
    assert why_not_utf8("ab\ud83d") == (
        "character 3 is U+D83D, half of a surrogate pair; send the whole character"
    )


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:20] + b"\x00\xff\xff" + raw[23:], len]
)
def test_damaged_archives_are_refused(tmp_path, damage):
    raw = gzip.compress("".join(f"Satz {i * i}\n" for i in range(500)).encode())
    path = tmp_path / "text.de.gz"
    path.write_bytes(b"plain text" if damage is len else damage(raw))
    with pytest.raises(UserError, match=r"text.de.gz cannot be read \(.+\); copy the file again"):
        read_lines(path)


def test_a_missing_file_or_a_directory_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing does not exist; give a text file, plain or gzipped"):
        read_lines(tmp_path / "nothing")
    with pytest.raises(UserError, match="is not a file; give a text file"):
        read_lines(tmp_path)


def test_sides_may_be_gzipped(tmp_path):
    (tmp_path / "train.de").write_text("a\nb\n")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(b"x\ny\n"))
    assert list(iterate_pairs(f"{tmp_path}/train", ("de", "en"))) == [("a", "x"), ("b", "y")]
    assert find_side(f"{tmp_path}/train", "en").name == "train.en.gz"
    with pytest.raises(UserError, match=r"neither .*train.fr nor .*train.fr.gz exists; give the prefix"):
        find_side(f"{tmp_path}/train", "fr")


@pytest.mark.parametrize(("source", "target"), [("a\nb\nc\n", "x\n"), ("a\n", "x\ny\n\n"), ("", "x\n")])
def test_different_line_counts_are_refused(tmp_path, source, target):
    (tmp_path / "t.de").write_text(source)
    (tmp_path / "t.en").write_text(target)
    counts = f"t.de has {source.count(chr(10))} lines but .*t.en has {target.count(chr(10))}; "
    with pytest.raises(
        UserError, match=counts + "parallel text needs one translation per line, so find where"
    ):
        list(iterate_pairs(f"{tmp_path}/t", ("de", "en")))


def test_empty_files_are_refused(tmp_path):
    for language in ("de", "en"):
        (tmp_path / f"t.{language}").write_text("")
    with pytest.raises(UserError, match=r"t.de and .*t.en are empty; give text with at least one pair"):
        list(iterate_pairs(f"{tmp_path}/t", ("de", "en")))


@pytest.mark.parametrize(("error", "named"), [(OSError, True), (BrokenPipeError, False)])
def test_what_cannot_be_printed_is_of_standard_output(monkeypatch, error, named):
    class Full:
        def flush(self):
            raise error(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(error) as raised:
        flush_output()
    assert raised.value.filename == ("standard output" if named else None)
