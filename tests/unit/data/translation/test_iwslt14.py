"""The IWSLT14 corpus from its archive."""

import tarfile

import pytest
from iwslt14_archive import PAIRS, write_archive

from cmlm_kd.data.translation.iwslt14 import TRAINING_TEXT, is_clean, prepare_iwslt14
from cmlm_kd.errors import UserError

SPLITS = ("train", "valid", "test")


def read(directory, split, language):
    return (directory / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def test_the_corpus_of_an_archive(tmp_path):
    counts = prepare_iwslt14(write_archive(tmp_path), tmp_path / "raw")
    assert counts == {"train": 68, "valid": 3, "test": 10}
    kept = [("Der Hund", "The dog"), *PAIRS]
    for side, language in enumerate(("de", "en")):
        sentences = [pair[side] for pair in kept]
        assert read(tmp_path / "raw", "valid", language) == [sentences[22], sentences[45], sentences[68]]
        assert read(tmp_path / "raw", "train", language) == [
            sentence
            for sentence in sentences
            if sentence not in (sentences[22], sentences[45], sentences[68])
        ]
    expected = [f"Test1 {number}.{row} & it's" for number in range(5) for row in (1, 2)]
    assert read(tmp_path / "raw", "test", "en") == expected


def test_lowercase(tmp_path):
    prepare_iwslt14(write_archive(tmp_path), tmp_path / "raw", lowercase=True)
    for split in SPLITS:
        text = (tmp_path / "raw" / f"{split}.de").read_text(encoding="utf-8")
        assert text and text == text.lower()


@pytest.mark.parametrize(
    ("source", "target", "clean"),
    [
        ("a b c", "a b", True),  # exactly 1.5 times
        ("a b c d", "a b", False),
        ("a b.", "a b", True),  # a full stop is a token
        ("a b...", "a, b", True),  # an ellipsis is one
        ("", "a", False),
        ("a " * 175, "a " * 175, True),
        ("a " * 176, "a " * 175, False),
    ],
)
def test_cleaning(source, target, clean):
    assert is_clean(source, target) is clean
    assert is_clean(target, source) is clean


def test_an_archive_whose_compression_is_damaged(tmp_path):
    archive = write_archive(tmp_path)
    content = bytearray(archive.read_bytes())
    for position in range(60, len(content) - 8, 7):
        content[position] ^= 0x55
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"is not a readable tar archive|lacks train"):
        prepare_iwslt14(archive, tmp_path / "raw")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train.tags.de-en.en": None}, "lacks train.tags.de-en.en; give the de-en.tgz"),
        ({"train.tags.de-en.en": "one line"}, r"train.tags.de-en.\* has 72 German but 1 English sentences"),
        ({"train.tags.de-en.de": b"good\nb\xe4d\n"}, "train.tags.de-en.de, line 2: not UTF-8"),
    ],
)
def test_another_archive(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        prepare_iwslt14(write_archive(tmp_path, **changed), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_no_archive(tmp_path):
    with pytest.raises(UserError, match=r"de-en.tgz does not exist; give the path"):
        prepare_iwslt14(tmp_path / "de-en.tgz", tmp_path / "raw")
    write_archive(tmp_path)
    whole = (tmp_path / "de-en.tgz").read_bytes()
    (tmp_path / "de-en.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"de-en.tgz is not a readable tar archive"):
        prepare_iwslt14(tmp_path / "de-en.tgz", tmp_path / "raw")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("target", ["../../secret", "/etc/hostname", "nowhere"])
def test_links_in_an_archive_lead_nowhere(tmp_path, kind, target):
    name = TRAINING_TEXT.format(language="de")
    path = write_archive(tmp_path, **{name: None})
    with tarfile.open(path) as old, tarfile.open(tmp_path / "linked.tgz", "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
        link = tarfile.TarInfo(f"../../{name}")
        link.type, link.linkname = kind, target
        new.addfile(link)
    with pytest.raises(UserError, match=rf"linked\.tgz lacks {name}; give the de-en\.tgz of IWSLT14"):
        prepare_iwslt14(tmp_path / "linked.tgz", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
